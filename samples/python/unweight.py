# SPDX-License-Identifier: Apache-2.0
"""Weights from a bundle in Python, through libunweight and ctypes; one file, to copy and change.

    import unweight
    with unweight.Model("bundle") as model:
        w = model["model.layers.0.mlp.up_proj.weight"]      # struct of name, dtype, shape, role ...
        a = w.numpy()                                       # BF16 comes as uint16; w.float32() widens it
        a = w.numpy(rows=(0, 64), cols=(0, 128))            # decodes only what it has to
        t = w.torch()                                       # torch.bfloat16, if torch is there
        with model.linear([w], threads=2) as linear:        # multiplies by the compressed weights
            y = linear(x)                                   # x: float32 [batch, columns] -> float32 [batch, rows]

UNWEIGHT_LIBRARY may name libunweight.so if it is not where the system looks for libraries.
"""

import ctypes
import os
from ctypes import POINTER, byref, c_bool, c_char, c_char_p, c_int, c_int32, c_size_t, c_uint, c_uint32, c_uint8, c_uint64, c_void_p

import numpy as np

BF16, F32 = 10, 13
_numpy_dtypes = {1: "?", 2: "u1", 3: "i1", 7: "<i2", 8: "<u2", 9: "<f2", 10: "<u2", 11: "<i4", 12: "<u4", 13: "<f4", 14: "<f8",
                 15: "<c8", 16: "<i8", 17: "<u8"}
PIPELINES = {"auto": 0, "raw": 1, "decode": 2, "exponent": 3, "transcode": 4, "palette": 5}


class Error(ctypes.Structure):
    _fields_ = [("status", c_int), ("os_errno", c_int), ("file_off", c_uint64), ("what", c_char * 232)]


class _Meaning(ctypes.Structure):
    _fields_ = [("role", c_int), ("layer", c_int32), ("expert", c_int32)]


class _Tensor(ctypes.Structure):
    _fields_ = [("name", c_char_p), ("name_nbytes", c_size_t), ("dtype", c_uint8), ("ndims", c_uint8), ("dims", POINTER(c_uint64)),
                ("nbytes", c_uint64), ("stored_nbytes", c_uint64), ("meaning", _Meaning), ("file", c_char_p)]


class _ModelOptions(ctypes.Structure):
    _fields_ = [("flags", c_uint32), ("cpu_level", c_char_p), ("allocator", c_void_p), ("rules", c_void_p), ("nrules", c_size_t),
                ("log", c_void_p), ("cancelled", c_void_p), ("progress", c_void_p), ("ctx", c_void_p), ("base", c_char_p)]


class _Slice(ctypes.Structure):
    _fields_ = [(name, c_uint64) for name in
                ("expert_begin", "expert_end", "row_begin", "row_end", "col_begin", "col_end")]


class _Part(ctypes.Structure):
    _fields_ = [("tensor", POINTER(_Tensor))] + [(name, c_uint64) for name in
                ("expert", "row_begin", "row_end", "col_begin", "col_end")]


class _LinearOptions(ctypes.Structure):
    _fields_ = [("pipeline", c_int), ("tuning", c_void_p), ("require_bitexact", c_bool), ("batch_invariant", c_bool)]


class _Args(ctypes.Structure):
    _fields_ = [("x", c_void_p), ("x_dtype", c_uint8), ("ldx", c_size_t), ("batch", c_uint64), ("y", POINTER(c_void_p)),
                ("y_dtype", c_uint8), ("ldy", POINTER(c_size_t)), ("scratch", c_void_p), ("scratch_nbytes", c_size_t)]


def _load():
    lib = ctypes.CDLL(os.environ.get("UNWEIGHT_LIBRARY", "libunweight.so.0"))
    err = POINTER(Error)
    for name, result, arguments in (
            ("uw_model_open", c_int, (c_char_p, POINTER(_ModelOptions), POINTER(c_void_p), err)),
            ("uw_model_close", None, (POINTER(c_void_p),)),
            ("uw_model_ntensors", c_size_t, (c_void_p,)),
            ("uw_model_tensor", POINTER(_Tensor), (c_void_p, c_size_t)),
            ("uw_model_find", POINTER(_Tensor), (c_void_p, c_char_p)),
            ("uw_role_name", c_char_p, (c_int,)),
            ("uw_dtype_name", c_char_p, (c_uint8,)),
            ("uw_status_text", c_char_p, (c_int,)),
            ("uw_tensor_slice_nbytes", c_uint64, (POINTER(_Tensor), POINTER(_Slice))),
            ("uw_tensor_read", c_int, (c_void_p, POINTER(_Tensor), POINTER(_Slice), c_void_p, c_size_t, err)),
            ("uw_pool_create", c_int, (c_uint, POINTER(c_void_p), err)),
            ("uw_pool_free", None, (POINTER(c_void_p),)),
            ("uw_linear_create", c_int, (c_void_p, POINTER(_Part), c_size_t, POINTER(_LinearOptions), POINTER(c_void_p), err)),
            ("uw_linear_free", None, (POINTER(c_void_p),)),
            ("uw_linear_nrows", c_uint64, (c_void_p, c_size_t)),
            ("uw_linear_ncols", c_uint64, (c_void_p,)),
            ("uw_linear_scratch_nbytes", c_size_t, (c_void_p, c_uint64, c_uint)),
            ("uw_linear_run", c_int, (c_void_p, c_void_p, POINTER(_Args), err))):
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    return lib


_lib = _load()


class UnweightError(Exception):
    """status is the number of enum uw_status."""

    def __init__(self, status, what):
        super().__init__(f"{_lib.uw_status_text(status).decode()}: {what}")
        self.status = status


def _call(function, *arguments):
    err = Error()
    status = function(*arguments, byref(err))
    if status != 0:
        raise UnweightError(status, err.what.decode(errors="replace"))


class Tensor:
    """One tensor of an open model; nothing of it is read before it is asked for."""

    def __init__(self, model, pointer):
        self._model, self._pointer = model, pointer
        t = pointer.contents
        self.name = ctypes.string_at(t.name, t.name_nbytes).decode()
        self.dtype = _lib.uw_dtype_name(t.dtype).decode()
        self.shape = tuple(t.dims[i] for i in range(t.ndims))
        self.nbytes, self.stored_nbytes = t.nbytes, t.stored_nbytes
        self.role = _lib.uw_role_name(t.meaning.role).decode()
        self.layer, self.expert = t.meaning.layer, t.meaning.expert
        self._code = t.dtype

    def numpy(self, rows=None, cols=None, experts=None):
        """The values; with (begin, end) of rows, columns or experts (leading dimensions), that part of them."""
        bounds = _Slice(*(experts or (0, 0)), *(rows or (0, 0)), *(cols or (0, 0)))
        whole = rows is None and cols is None and experts is None
        nbytes = self.nbytes if whole else _lib.uw_tensor_slice_nbytes(self._pointer, byref(bounds))
        data = np.empty(nbytes, np.uint8)
        _call(_lib.uw_tensor_read, self._model._handle, self._pointer, None if whole else byref(bounds),
              data.ctypes.data, data.nbytes)
        data = data.view(_numpy_dtypes.get(self._code, "u1"))
        if whole:
            return data.reshape(self.shape) if self._code in _numpy_dtypes else data
        width = (cols[1] or self.shape[-1]) - cols[0] if cols else self.shape[-1]
        height = (rows[1] or self.shape[-2]) - rows[0] if rows else self.shape[-2] if len(self.shape) > 1 else 1
        return data.reshape((-1, height, width) if len(self.shape) > 2 else (height, width))

    def float32(self, **part):
        """BF16 values as float32."""
        return (self.numpy(**part).astype(np.uint32) << 16).view(np.float32)

    def torch(self, **part):
        import torch
        values = torch.from_numpy(self.numpy(**part))
        return values.view(torch.bfloat16) if self._code == BF16 else values


class Linear:
    """Matrices that are multiplied with the same x. Close it, or use it in a with statement, before the model."""

    def __init__(self, model, tensors, threads=1, pipeline="auto", batch_invariant=False):
        parts = (_Part * len(tensors))(*[_Part(t._pointer) for t in tensors])
        options = _LinearOptions(PIPELINES[pipeline], None, False, batch_invariant)
        self._handle, self._pool, self._threads = c_void_p(), c_void_p(), threads
        _call(_lib.uw_linear_create, model._handle, parts, len(tensors), byref(options), byref(self._handle))
        try:
            _call(_lib.uw_pool_create, threads, byref(self._pool))
        except UnweightError:
            self.close()
            raise
        self.nrows = [_lib.uw_linear_nrows(self._handle, i) for i in range(len(tensors))]
        self.ncols = _lib.uw_linear_ncols(self._handle)

    def __call__(self, x):
        """float32 [batch, ncols] -> one float32 [batch, nrows], or a list of them for several matrices."""
        x = np.ascontiguousarray(x, np.float32).reshape(-1, self.ncols)
        y = [np.empty((len(x), n), np.float32) for n in self.nrows]
        n = _lib.uw_linear_scratch_nbytes(self._handle, len(x), self._threads)
        scratch = np.empty(n + 64, np.uint8)
        aligned = (scratch.ctypes.data + 63) // 64 * 64
        args = _Args(x.ctypes.data, F32, self.ncols, len(x), (c_void_p * len(y))(*[a.ctypes.data for a in y]), F32,
                     (c_size_t * len(y))(*self.nrows), aligned, n)
        _call(_lib.uw_linear_run, self._handle, self._pool, byref(args))
        return y[0] if len(y) == 1 else y

    def close(self):
        _lib.uw_linear_free(byref(self._handle))
        _lib.uw_pool_free(byref(self._pool))

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()


class Model:
    """An open bundle: a mapping from names to tensors. `base` is a bundle of its base, if it stores only what differs from one."""

    def __init__(self, path, base=None):
        self._handle = c_void_p()
        options = _ModelOptions(base=None if base is None else os.fsencode(base))
        _call(_lib.uw_model_open, os.fsencode(path), byref(options), byref(self._handle))

    def __len__(self):
        return _lib.uw_model_ntensors(self._handle)

    def __iter__(self):
        return (Tensor(self, _lib.uw_model_tensor(self._handle, i)).name for i in range(len(self)))

    def __getitem__(self, name):
        pointer = _lib.uw_model_find(self._handle, name.encode())
        if not pointer:
            raise KeyError(name)
        return Tensor(self, pointer)

    def linear(self, tensors, **options):
        return Linear(self, tensors, **options)

    def close(self):
        _lib.uw_model_close(byref(self._handle))

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()
