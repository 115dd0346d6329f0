"""What is signed: notes, checkpoints and their cosignatures, witness policies, and the accounts of gates and persons. Ed25519 and ML-DSA-65 by `openssl`."""
import base64, collections, functools, os, re, subprocess, tempfile
from formats import FORMS, base64url, canonical, fits, hashes, included, need, parse, sha256, unbase64, unbase64url

# log.md, keys.md, witness.md: signed notes

SCRATCH = tempfile.TemporaryDirectory()
Checkpoint = collections.namedtuple('Checkpoint', 'size root text lines anchored')

# README.md: y of the points of order 1, 2, 4 and 8, under which one signature verifies for many messages
SMALL_ORDER = {0, 1, 2**255 - 20, 0x7a03ac9277fdc74ec6cc392cfa53202a0f67100d760b3cba4fd83d3d706a17c7,
               0x05fc536d880238b13933c6d305acdfd5f098eff289f4c345b027b2c28f95e826}

def is_weak(point):
    y = int.from_bytes(point, 'little') % 2**255
    return y >= 2**255 - 19 or y in SMALL_ORDER

ED25519, ML_DSA_65 = bytes.fromhex('302a300506032b6570032100'), bytes.fromhex('308207b2300b0609608648016503040312038207a100')  # SPKI up to the key

@functools.lru_cache(maxsize=100_000)
def is_signed(public, message, signature, prefix=ED25519):
    if prefix == ED25519 and (len(signature) != 64 or is_weak(public) or is_weak(signature[:32])):
        return False
    for name, data in ('key', prefix + public), ('message', message), ('signature', signature):
        with open(os.path.join(SCRATCH.name, name), 'wb') as file:
            file.write(data)
    command = 'openssl pkeyutl -verify -pubin -keyform DER -inkey key -rawin -in message -sigfile signature'
    return subprocess.run(command.split(), cwd=SCRATCH.name, capture_output=True, check=False).returncode == 0

@functools.lru_cache
def has_ml_dsa():
    return b'ML-DSA-65' in subprocess.run(['openssl', 'list', '-signature-algorithms'], capture_output=True, check=False).stdout

def verifier_key(text, kind, size=32):
    """The name, id and public key of `name+id+base64(type ‖ key)`."""
    name, given, key = (text.split('+', 2) + ['', ''])[:3]
    key = unbase64(key)
    need(re.fullmatch(r'[^\s+]+', name) and len(key) == len(kind) + size and key.startswith(kind), 'not a verifier key of this type')
    need(given == sha256(name.encode('utf-8', 'surrogateescape') + b'\n' + key)[:4].hex(), 'a verifier key with the id of another')
    return name, bytes.fromhex(given), key[len(kind):]

def log_key(text, pq_text=None):
    """A log key, and where it is hybrid behind it the id and the public key of its ML-DSA-65 half."""
    key, pq = verifier_key(text, b'\1'), verifier_key(pq_text, b'\xffsealwrit/ml-dsa-65\n', 1952) if pq_text else None
    need(pq is None or pq[0] == key[0], 'two keys of different names')
    return key + (pq and pq[1:],)

def key_text(key):
    return f'{key[0]}+{key[1].hex()}+' + base64.b64encode(b'\1' + key[2]).decode() + '\n'

def read_note(note):
    text, _, signatures = note.rpartition('\n\n')
    need(not re.search('[\0-\x09\x0b-\x1f]', note) and signatures.endswith('\n') and signatures.count('\n') <= 64, 'not a signed note')
    lines = {}
    for line in signatures[:-1].split('\n'):
        match = re.fullmatch(r'— ([^\s+]+) (\S+)', line)
        blob = unbase64(match[2]) if match else b''
        need(len(blob) > 4, 'not a signature line')
        lines.setdefault((match[1], blob[:4]), []).append((blob[4:], line))
    return f'{text}\n', lines

def signs(key, text, lines):
    """Whether the key signed the text once, with both halves of a hybrid one as far as `openssl` can tell."""
    own, pq = lines.get(key[:2], []), key[3] and lines.get((key[0], key[3][0]), [])
    return len(own) == 1 and is_signed(key[2], text.encode(), own[0][0]) and (
        pq is None or len(pq) == 1 and len(pq[0][0]) == 3309 and (not has_ml_dsa() or is_signed(key[3][1], text.encode(), pq[0][0], ML_DSA_65)))

def read_checkpoint(note, ring):
    """Every line by a key of the ring that may sign for such a tree must hold, and there is one."""
    text, lines = read_note(note)
    match = re.fullmatch('([^\n]+)\n(0|[1-9][0-9]{0,15})\n([^\n]+)\n', text)
    need(match and match[1] == ring[0][0][0] and int(match[2]) < 2**53 and len(unbase64(match[3])) == 32, 'not a checkpoint of this log')
    able = [key for key, until in ring if key[:2] in lines and (until is None or int(match[2]) <= until)]
    need(able and all(signs(key, text, lines) for key in able), 'not signed by a log key that may sign it')
    return Checkpoint(int(match[2]), unbase64(match[3]), text, lines, ['\n'.join([text, lines[key[:2]][0][1], *([lines[key[0], key[3][0]][0][1]] if key[3] else []), '']).encode() for key in able])

def cosigners(head, witnesses, now):
    """The witnesses of a policy that cosigned the checkpoint."""
    found = set()
    for name, key in witnesses.items():
        blobs = [blob for blob, _ in head.lines.get(key[:2], [])]
        for blob in blobs:
            seen = int.from_bytes(blob[:8], 'big')
            need(len(blobs) == 1 and len(blob) == 72 and seen < 2**53 and seen <= now + 30, f'the cosignature of `{name}` stands twice, or has no such time')
            need(is_signed(key[2], f'cosignature/v1\ntime {seen}\n{head.text}'.encode(), blob[8:]), f'the cosignature of `{name}` does not verify')
            found.add(name)
    return found

def read_policy(data):
    """Logs, witnesses, groups and quorum of a C2SP tlog-policy."""
    need(len(data) <= 65_536 and data.endswith(b'\n') and not re.search(rb'[\0-\x08\x0b-\x1f\x7f]', data), 'not a witness policy')
    logs, witnesses, groups, quorum, used = [], {}, {'none': (0, [])}, None, {'none'}
    for line in data.decode('utf-8', 'surrogateescape')[:-1].split('\n'):
        keyword, *items = re.findall('[^ \t]+', line) or ['#']
        defined, name = {**witnesses, **groups}, items[0] if items else ''
        if keyword == 'log' and len(items) in (1, 2):
            logs.append(verifier_key(name, b'\1'))
        elif keyword == 'witness' and len(items) in (2, 3) and name not in defined:
            witnesses[name] = verifier_key(items[1], b'\4')
        elif keyword == 'group' and len(items) > 2 and name not in defined:
            k = {'any': '1', 'all': str(len(items) - 2)}.get(items[1], items[1])
            need(re.fullmatch('[1-9][0-9]?', k) and int(k) <= len(set(items[2:])) == len(items) - 2, f'`{name}` has no such threshold')
            need(not used & set(items[2:]) and defined.keys() >= set(items[2:]), f'`{name}` has no such members')
            used.update(items[2:])
            groups[name] = int(k), items[2:]
        elif not keyword.startswith('#'):
            need(keyword == 'quorum' and quorum is None and len(items) == 1 and name in defined, f'not a policy line: `{line}`')
            quorum = name
    for keys in logs, list(witnesses.values()):
        need(len({key[2] for key in keys}) == len(keys) <= 32, 'a key stands twice, or there are too many')
    need(quorum is not None and len(groups) <= 65, 'a policy without quorum, or with too many groups')
    return logs, witnesses, groups, quorum

def is_met(name, groups, found):
    return name in found if name not in groups else sum(is_met(n, groups, found) for n in groups[name][1]) >= groups[name][0]

# log.md: proofs

PROOF = re.compile(r'c2sp\.org/tlog-proof@v1\nindex (0|[1-9][0-9]*)\n((?:[^\n]+\n)*)\n(.*)', re.DOTALL)

def proved(item, note, size, root):
    """The index at which the checkpoint's tree holds the entry."""
    match = PROOF.fullmatch(item['proof'])
    need(match and match[3] == note and int(match[1]) < size, 'the proof does not lead to the checkpoint of the head')
    need(included(int(match[1]), size, sha256(b'\0' + item['entry'].encode()), hashes(match[2].split('\n')[:-1])) == root, 'it is not in the log')
    return int(match[1])

# receipt.md, denial.md, approval.md: signed accounts

def read_account(token, kind, gate, public):
    """The claims that a gate signed in a compact JWS; nothing in it is looked at before its header and signature hold."""
    need(token.count('.') == 2 and len(token) <= 8_192, 'not a compact JWS')
    header, payload, signature = map(unbase64url, token.split('.'))
    need(header == canonical({'alg': 'Ed25519', 'kid': gate, 'typ': kind}).encode(), 'another header')
    need(is_signed(public, token.rpartition('.')[0].encode(), signature), 'it is not signed by its gate')
    claims = parse(payload)
    need(canonical(claims).encode() == payload and fits(FORMS[kind], claims), f'not the claims of {kind}')
    need(('started' in claims) == (claims.get('outcome', 'not_started') != 'not_started'), '`started` is absent exactly where nothing started')
    return claims

def thumbprint(public):
    return base64url(sha256(canonical({'crv': 'Ed25519', 'kty': 'OKP', 'x': base64url(public)}).encode()))  # RFC 7638
