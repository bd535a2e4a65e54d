"""The manifest: a table of the audio files below a folder, and of what a protocol says of them.

`headers` reads one file, `crew` many, `walking` finds them, `indexing` brings that to a table that
outlives interruptions, `table` keeps it, `joining` lays the protocol beside it, `duplicates` and
`findings` say what is not as it should be.
"""
