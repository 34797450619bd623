"""Loads the real binding of librbd; from Python 3.13 on, without calls back to tell progress.

The manager runs each module in an interpreter of its own. librbd calls back from its own threads,
which Python gives to the first interpreter, and with 3.13 the manager dies of it: no image in the
trash would ever be removed.
"""

import importlib.util
import sys
from importlib.machinery import PathFinder

_here = __file__.rpartition("/")[0]
_spec = PathFinder.find_spec("rbd", [place for place in sys.path if place != _here])
_real = importlib.util.module_from_spec(_spec)
sys.modules["rbd"] = _real
_spec.loader.exec_module(_real)


def _without_progress(method):
    def call(*words, on_progress=None, **named):
        return method(*words, **named)

    return call


if sys.version_info >= (3, 13):
    for _name in ("remove", "trash_remove", "migration_execute", "migration_commit", "migration_abort"):
        setattr(_real.RBD, _name, _without_progress(getattr(_real.RBD, _name)))

    class _Image(_real.Image):
        flatten = _without_progress(_real.Image.flatten)

    _real.Image = _Image
