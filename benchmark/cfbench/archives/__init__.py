"""Archives that others have made: unpacked as a stream, safely, and resumed after an interruption.

`parts` reads files as if they were one, `decoding` takes the compression off, `tape` reads what is
left as members, `names` says which of their names are safe, `unpacking` writes them, `journal`
keeps what is written. None of them knows which archive it is.
"""
