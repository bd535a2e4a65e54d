"""What a hostile maker puts into an archive behind a first sound member, and why it is refused."""

from tarfile import BLKTYPE, CHRTYPE, DIRTYPE, FIFOTYPE, LNKTYPE, SYMTYPE, XGLTYPE

from tapes import END, changed, member, pax

FIRST = member("CoRS/first.wav", b"first")


def long(name: bytes, kind: bytes = b"L") -> bytes:
    """A name that stands before its member."""
    return member("././@LongLink", name + b"\0", kind)


def sized(field: bytes, kind: bytes = b"0") -> bytes:
    """A member that lies about its size."""
    return changed(member("x", b"x", kind), 124, field)


_PREFIXED = changed(member("x", b"x"), 257, b"ustar\x0000" + bytes(80) + b"../..\0")

HOSTILE = {
    # not a file
    "symbolic link": (member("x", kind=SYMTYPE, linkname="/etc"), "'x', refused: it is a symbolic"),
    "hard link": (member("x", kind=LNKTYPE, linkname="CoRS/first.wav"), "it is a hard link"),
    "long link": (long(b"/etc/passwd", b"K") + member("x", kind=SYMTYPE), "it is a symbolic link"),
    "character device": (member("x", kind=CHRTYPE), "it is a character device"),
    "block device": (member("x", kind=BLKTYPE), "it is a block device"),
    "fifo": (member("x", kind=FIFOTYPE), "it is a pipe (FIFO)"),
    "sparse of GNU": (member("x", b"x", b"S"), "it is a sparse file"),
    "sparse of pax": (pax({"GNU.sparse.major": "1"}) + member("x"), "it is a sparse file"),
    "sparse size": (pax({"GNU.sparse.realsize": "9" * 12}) + member("x"), "it is a sparse file"),
    "part of a file": (member("x", b"x", b"M"), "it is part of a file"),
    "label": (member("x", kind=b"V"), "it is a label of a tape"),
    "unknown": (member("x", kind=b"Z"), "it is of a kind that is not known"),
    # elsewhere
    "absolute": (member("/tmp/x", b"x"), "'/tmp/x', refused: its name is absolute"),
    "absolute by pax": (pax({"path": "/tmp/x"}) + member("x", b"x"), "its name is absolute"),
    "absolute by a long name": (long(b"/tmp/x") + member("x", b"x"), "its name is absolute"),
    "drive": (member("C:/x", b"x"), "its name is absolute"),
    "place on a drive": (member("c:x", b"x"), "its name is absolute"),
    "up": (member("../x", b"x"), "its name leads out of the folder"),
    "up in the middle": (member("CoRS/../../x", b"x"), "its name leads out"),
    "up at the end": (member("CoRS/..", kind=DIRTYPE), "its name leads out"),
    "up by a prefix": (_PREFIXED, "its name leads out"),
    # no name
    "backslash": (member("..\\x", b"x"), "its name holds a backslash"),
    "control character": (member("a\x1b[2Jx", b"x"), "characters that cannot be shown"),
    "line feed": (pax({"path": "a\nb"}) + member("x", b"x"), "characters that cannot be shown"),
    "NUL": (long(b"a\0b") + member("x", b"x"), "characters that cannot be shown"),
    "turned": (member("a\u202egnp.exe", b"x"), "characters that cannot be shown"),
    "no text": (changed(member("x", b"x"), 0, b"\xff\xfe"), "its name is no text in UTF-8"),
    "nameless": (member(".", b"x"), "it is a file without a name"),
    "incoming": (member(".CFbench-incoming", b"x"), "that of a file that is being written"),
    "long part": (long(b"x" * 256) + member("x"), "more than 255 bytes"),
    "long name": (long(b"x/" * 700) + member("x"), "more than 1,024 bytes"),
    "deep": (member("x/" * 33 + "y"), "or 32 folders"),
    "endless name": (sized(b"77777777777\0", b"L"), "a long name has 8,589,934,591 bytes"),
    "long name and nothing": (long(b"x"), "a long name is followed by nothing"),
    # two in one place
    "twice": (member("CoRS/first.wav", b"other"), "'CoRS/first.wav', refused: it is there twice"),
    "twice, by another way": (member("./CoRS//./first.wav", b"other"), "it is there twice"),
    "case": (member("CoRS/FIRST.wav", b"other"), "differs from another in upper and lower case"),
    "accent": (member("\u00e9", b"x") + member("e\u0301", b"x"), "it is there twice"),
    "folder's case": (member("cors/x", b"x"), "its folder is called 'CoRS' elsewhere"),
    "file that is a folder": (member("CoRS", b"x"), "it is a file, and a folder too"),
    "folder that is a file": (member("CoRS/first.wav/x", b"x"), "its folder is a file too"),
    # sizes
    "large": (sized(b"00115000000\0"), "it has 20,185,088 bytes, more than the 20,000,000"),
    "absurd": (sized(b"\x80" + b"\x7f" * 11), "more than the 20,000,000 allowed"),
    "absurd by pax": (pax({"size": "9" * 20}) + member("x"), "more than the 20,000,000 allowed"),
    "negative": (sized(b"\xff" * 12), "its size is negative or absurd"),
    "negative by pax": (pax({"size": "-5"}) + member("x"), "its size is no number"),
    "no number": (sized(b"12x45678901\0"), "its size is no number"),
    "folder with content": (member("x/", b"x" * 9, DIRTYPE), "it is a folder with content"),
    # headers
    "pax for all": (pax({"path": "x"}, XGLTYPE) + member("y"), "is to hold for all members"),
    "senseless pax": (member("p", b"99 path=x\n", b"x") + member("x"), "pax makes no sense"),
    "damaged header": (b"x" * 512, "a header is damaged"),
    "zeros, then more": (END + member("x", b"x"), "something follows the end of the archive"),
}
