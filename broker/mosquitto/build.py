"""Build the plugin: `python -m broker.mosquitto.build [FOLDER]`, into `./var/mosquitto-plugin` unless another is named.

Rules
- The shared object is tied to this Python's minor version and to Mosquitto 2.0's headers; it is built where it runs,
  under a name that tells what it was made of, and never committed.
- A build that is there is not made again; two at once do not disturb each other.
"""

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Final

DEFAULT: Final = Path("var/mosquitto-plugin")
HEADER: Final = "mosquitto_broker.h"
_SOURCES: Final = Path(__file__).parent / "plugin"
_MODULE: Final = "_tidings_mosquitto"

_FOR_C: Final = """
int desk_open(const char *folder, const char *gate);
int desk_authenticate(uintptr_t client, const char *id, const char *username, const char *password);
int desk_check(uintptr_t client, int access, const char *topic, int qos, int retain);
void desk_left(uintptr_t client);
void desk_tick(void);
"""
"""What C asks of Python; `broker.mosquitto.glue` answers."""

_FOR_PYTHON: Final = """
static void plugin_kick(const char *id);
static void plugin_forget(uintptr_t client);
static void plugin_log(int level, const char *text);
"""

_AT_START: Final = f"""
from {_MODULE} import ffi, lib
from broker.mosquitto.glue import connect
connect(ffi, lib)
"""


class CannotBuild(OSError):
    """The plugin cannot be built here; the text is one line for the operator."""


def build(folder: Path = DEFAULT) -> Path:
    """Build the plugin if it is not there; returns its path. Raises `CannotBuild` with what is missing."""
    source, libpython = _source(), _libpython()
    digest = hashlib.sha256("\0".join((source, str(libpython), _headers_of_python(), _c("memory.h"))).encode())
    wanted = folder.absolute() / f"tidings-{digest.hexdigest()[:12]}.so"
    if wanted.exists():
        return wanted
    compiler = _compiler()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        written, made = Path(scratch) / "plugin.c", Path(scratch) / "plugin.so"
        written.write_text(source)
        _compile(compiler, written, made, libpython)
        os.replace(made, wanted)
    return wanted


def missing() -> str:
    """Tell in one line what this machine lacks to build the plugin; empty when nothing."""
    try:
        _libpython()
        _source()
        _compiler()
    except CannotBuild as error:
        return str(error)
    return ""


def _source() -> str:
    try:
        from cffi import FFI
    except ImportError:
        raise CannotBuild("the plugin needs cffi; install tidings-server[mosquitto]") from None
    ffi = FFI()
    ffi.embedding_api(_FOR_C)
    ffi.cdef(_FOR_PYTHON.replace("static ", ""))
    ffi.set_source(_MODULE, _c("plugin.c"))
    ffi.embedding_init_code(_AT_START)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "plugin.c"
        with contextlib.redirect_stdout(None):  # it tells what it writes
            ffi.emit_c_code(str(path))
        return path.read_text()


def _c(name: str) -> str:
    return (_SOURCES / name).read_text()


def _libpython() -> Path:
    """Find this Python's shared library."""
    names = sysconfig.get_config_vars("INSTSONAME", "LDLIBRARY")
    folders = sysconfig.get_config_vars("LIBDIR", "LIBPL")
    multiarch = str(sysconfig.get_config_var("MULTIARCH") or "")
    places = [Path(str(folder)) / part for folder in folders if folder for part in ("", multiarch)]
    for place in places:
        for name in map(str, names):
            if ".so" in name and (place / name).is_file():
                return place / name
    raise CannotBuild("the plugin needs Python's shared library; Debian: apt install libpython3-dev")


def _headers_of_python() -> str:
    return sysconfig.get_paths()["include"]


def _compiler() -> str:
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        raise CannotBuild("the plugin needs a C compiler; Debian: apt install gcc libc6-dev")
    tried = subprocess.run(  # noqa: S603 - the operator's own compiler
        [compiler, "-E", "-x", "c", "-", f"-I{_headers_of_python()}"],
        input=f"#include <Python.h>\n#include <stdbool.h>\n#include <{HEADER}>\n",
        capture_output=True,
        text=True,
    )
    if tried.returncode:
        lacking = "python3-dev" if "Python.h" in tried.stderr else "mosquitto-dev libmosquitto-dev"
        raise CannotBuild(f"the plugin needs headers; Debian: apt install {lacking}")
    return compiler


def _compile(compiler: str, source: Path, target: Path, libpython: Path) -> None:
    command = [compiler, "-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Wno-unused-parameter", "-std=gnu11"]
    command += [f"-I{_headers_of_python()}", f"-I{_SOURCES}", f'-DLIBPYTHON="{libpython}"', str(source)]
    command += ["-o", str(target), str(libpython), f"-Wl,-rpath,{libpython.parent}", "-ldl"]
    done = subprocess.run(command, capture_output=True, text=True)  # noqa: S603 - the operator's own compiler
    if done.returncode:
        raise CannotBuild(f"the plugin could not be compiled:\n{done.stderr[-2000:]}")
    if done.stderr:
        print(done.stderr, file=sys.stderr)


if __name__ == "__main__":
    try:
        print(build(*map(Path, sys.argv[1:2])))
    except CannotBuild as problem:
        sys.exit(f"tidings: {problem}")
