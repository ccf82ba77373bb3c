"""A file system between SQLite and the disk: it notes what is written, and fails when it is told to.

It is registered as the default VFS of the very library that `sqlite3` uses, over the one that was the default, so the
program under test and its SQLite are as they are. Only for processes that a test forked: it stays until they end.
"""

import ctypes as c
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

OK, IOERR, FULL = 0, 10, 13
_CREATE = 0x4

_pointer, _int, _long = c.c_void_p, c.c_int, c.c_int64
_Write = c.CFUNCTYPE(_int, _pointer, _pointer, _int, _long)  # file, data, length, offset
_Truncate = c.CFUNCTYPE(_int, _pointer, _long)
_Sync = c.CFUNCTYPE(_int, _pointer, _int)
_Open = c.CFUNCTYPE(_int, _pointer, _pointer, _pointer, _int, _pointer)  # vfs, name, file, flags, flags that it got
_Delete = c.CFUNCTYPE(_int, _pointer, _pointer, _int)  # vfs, name, whether to sync the folder


class _Methods(c.Structure):
    """sqlite3_io_methods: its first functions; what follows is the same in each version."""

    _fields_ = (("version", _int), *((name, _pointer) for name in ("close", "read", "write", "truncate", "sync")))


_METHODS_SIZE = 8 + 18 * 8  # with the functions of version 3


class _Vfs(c.Structure):
    _fields_ = (
        ("version", _int),
        ("file_size", _int),
        ("longest_name", _int),
        ("next", _pointer),
        ("name", c.c_char_p),
        ("data", _pointer),
        ("open", _pointer),
        ("delete", _pointer),
        ("rest", _pointer * 14),
    )


def library() -> Any:
    """Return the SQLite that `sqlite3` uses.

    Raises:
        LookupError: it is built into Python, where its functions cannot be reached.
    """
    try:
        mapped = {line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if "sqlite3" in line}
    except OSError as error:
        raise LookupError(f"where sqlite3 comes from cannot be seen: {error}") from error
    for path in sorted(mapped):
        loaded = c.CDLL(path)
        if hasattr(loaded, "sqlite3_vfs_find"):
            loaded.sqlite3_libversion.restype = c.c_char_p
            assert loaded.sqlite3_libversion().decode() == sqlite3.sqlite_version
            loaded.sqlite3_vfs_find.restype = _pointer
            return loaded
    raise LookupError("sqlite3 of this Python has its SQLite built in, where its files cannot be traced")


_REGISTERED: list["Traced"] = []  # SQLite holds pointers into it


class Traced:
    """The file system. `note` is called with what was done, `refuse` before it is done: it may return an error."""

    def __init__(self, note: Callable[..., None] = lambda *done: None) -> None:
        self.note = note
        self.refuse: Callable[[str, str], int] = lambda what, path: OK
        self._files: dict[int, str] = {}
        self._wrapped: dict[int, Any] = {}
        self._kept: list[Any] = []  # what C holds pointers to
        sqlite = library()
        self._below = sqlite.sqlite3_vfs_find(None)
        below = _Vfs.from_address(self._below)
        self._vfs = _Vfs.from_buffer_copy(below)
        self._vfs.name = b"traced"
        self._open_below, self._delete_below = _Open(below.open), _Delete(below.delete)
        self._vfs.open = self._keep(_Open(self._open))
        self._vfs.delete = self._keep(_Delete(self._delete))
        assert sqlite.sqlite3_vfs_register(c.byref(self._vfs), 1) == OK
        _REGISTERED.append(self)

    def _keep(self, function: Any) -> Any:
        self._kept.append(function)
        return c.cast(function, _pointer)

    def _open(self, _vfs: int, name: int | None, file: int, flags: int, got: int | None) -> int:
        path = c.string_at(name).decode() if name else ""
        created = bool(path) and flags & _CREATE and not os.path.exists(path)
        if created and (error := self.refuse("create", path)):
            return error
        status = self._open_below(self._below, name, file, flags, got)
        methods = c.c_void_p.from_address(file)
        if status == OK and path and methods.value:
            self._files[file] = path
            methods.value = self._wrap(methods.value)
            if created:
                self.note("create", path)
        return int(status)

    def _wrap(self, methods: int) -> int:
        """Return a copy of a file's methods in which those that write are ours."""
        if methods not in self._wrapped:
            size = _METHODS_SIZE
            copy = c.create_string_buffer(c.string_at(methods, size), size)
            below, ours = _Methods.from_address(methods), _Methods.from_buffer(copy)
            ours.write = self._keep(_Write(self._writes(_Write(below.write))))
            ours.truncate = self._keep(_Truncate(self._truncates(_Truncate(below.truncate))))
            ours.sync = self._keep(_Sync(self._syncs(_Sync(below.sync))))
            self._wrapped[methods] = copy
        return c.addressof(self._wrapped[methods])

    def _writes(self, below: Any) -> Callable[..., int]:
        def write(file: int, data: int, length: int, offset: int) -> int:
            path = self._files[file]
            status = self.refuse("write", path) or below(file, data, length, offset)
            if status == OK:
                self.note("write", path, offset, c.string_at(data, length))
            return int(status)

        return write

    def _truncates(self, below: Any) -> Callable[..., int]:
        def truncate(file: int, size: int) -> int:
            path = self._files[file]
            status = self.refuse("truncate", path) or below(file, size)
            if status == OK:
                self.note("truncate", path, size)
            return int(status)

        return truncate

    def _syncs(self, below: Any) -> Callable[..., int]:
        def sync(file: int, flags: int) -> int:
            path = self._files[file]
            status = self.refuse("sync", path) or below(file, flags)
            if status == OK:
                self.note("sync", path)
            return int(status)

        return sync

    def _delete(self, _vfs: int, name: int, sync_folder: int) -> int:
        path = c.string_at(name).decode()
        status = self.refuse("delete", path) or self._delete_below(self._below, name, sync_folder)
        if status == OK:
            self.note("delete", path, bool(sync_folder))
        return int(status)


def trace_os(note: Callable[..., None], folder: Path) -> None:
    """Note too what this process does by itself to files of `folder`, with the functions of `os`."""
    real_open, real_write, real_fsync = os.open, os.write, os.fsync
    paths: dict[int, str] = {}

    def traced_open(path: Any, flags: int, *more: Any, **named: Any) -> int:
        inside = isinstance(path, str | Path) and Path(path).absolute().parent == folder
        created = inside and flags & os.O_CREAT and not os.path.exists(path)
        fd = real_open(path, flags, *more, **named)
        paths.pop(fd, None)
        if inside or path in (folder, str(folder)):
            paths[fd] = str(Path(path).absolute())
        if created:
            note("create", paths[fd])
        return fd

    def traced_write(fd: int, data: bytes) -> int:
        offset = os.lseek(fd, 0, os.SEEK_CUR) if fd in paths else 0
        written = real_write(fd, data)
        if fd in paths:
            note("write", paths[fd], offset, bytes(data[:written]))
        return written

    def traced_fsync(fd: int) -> None:
        real_fsync(fd)
        if fd in paths:
            note("sync", paths[fd])

    def moved(real: Callable[..., None], what: str) -> Callable[..., None]:
        def move(source: Any, target: Any, **named: Any) -> None:
            real(source, target, **named)
            note(what, str(Path(source).absolute()), str(Path(target).absolute()))

        return move

    def removed(real: Callable[..., None]) -> Callable[..., None]:
        def remove(path: Any, **named: Any) -> None:
            real(path, **named)
            note("delete", str(Path(path).absolute()), False)

        return remove

    os.open, os.write, os.fsync = traced_open, traced_write, traced_fsync  # type: ignore[assignment]
    os.rename, os.replace, os.link = moved(os.rename, "rename"), moved(os.replace, "rename"), moved(os.link, "link")
    os.unlink, os.remove = removed(os.unlink), removed(os.remove)
