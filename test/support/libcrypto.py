"""Verifies signatures with the library that `openssl` itself is made of, in this process: a command a signature is most of the time of many bundles."""
import ctypes, ctypes.util, os, subprocess, types

COMPARED = 25  # first answers that the command has to give too

def load():
    name = ctypes.util.find_library('crypto')
    if name is None:
        return None
    lib = ctypes.CDLL(name)
    for function in 'd2i_PUBKEY', 'EVP_MD_CTX_new':
        getattr(lib, function).restype = ctypes.c_void_p
    return lib

def is_good(lib, key, message, signature):
    start = ctypes.c_char_p(key)
    public = lib.d2i_PUBKEY(None, ctypes.byref(start), ctypes.c_long(len(key)))
    if not public:
        return False
    context = lib.EVP_MD_CTX_new()
    try:
        return (lib.EVP_DigestVerifyInit(ctypes.c_void_p(context), None, None, None, ctypes.c_void_p(public)) == 1
                and lib.EVP_DigestVerify(ctypes.c_void_p(context), signature, ctypes.c_size_t(len(signature)), message, ctypes.c_size_t(len(message))) == 1)
    finally:
        lib.EVP_MD_CTX_free(ctypes.c_void_p(context))
        lib.EVP_PKEY_free(ctypes.c_void_p(public))
        lib.ERR_clear_error()

def quicker(lib):
    """What stands in for `subprocess` where signatures are verified by `openssl pkeyutl`; the first answers are compared with the command's."""
    asked = 0
    def run(command, **options):
        nonlocal asked
        if command[:3] != ['openssl', 'pkeyutl', '-verify']:
            return subprocess.run(command, **options)
        read = lambda name: open(os.path.join(options['cwd'], command[command.index(name) + 1]), 'rb').read()
        good = is_good(lib, read('-inkey'), read('-in'), read('-sigfile'))
        asked += 1
        if asked <= COMPARED and (subprocess.run(command, **options).returncode == 0) != good:
            raise AssertionError('libcrypto and the openssl command disagree')
        return types.SimpleNamespace(returncode=0 if good else 1)
    return types.SimpleNamespace(run=run)
