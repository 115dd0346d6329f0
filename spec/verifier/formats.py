"""The formats under an evidence bundle, written from the pages of spec/ alone: canonical JSON, closed objects, the Merkle tree,
signed notes and the signed accounts of gates. Standard library, and the command `openssl` for Ed25519.
"""
import base64, collections, functools, hashlib, json, os, re, subprocess, tempfile
from decimal import Decimal

WRITER = json.JSONEncoder(ensure_ascii=False)

class Refused(Exception):
    """What does not hold."""

def need(holds, why):
    if not holds:
        raise Refused(why)

# canonical-json.md: a text is parsed once, strictly, and has one canonical form (RFC 8785)

def parse(data):
    try:
        value = json.loads(data.decode(), object_pairs_hook=members, parse_int=number, parse_float=number, parse_constant=number)
        WRITER.encode(value).encode()  # a lone surrogate has no UTF-8
    except (ValueError, ArithmeticError, RecursionError) as error:
        raise Refused(f'not strict JSON: {error}') from None
    need(height(value) <= 64, 'deeper than 64')
    return value

def members(pairs):
    need(len(dict(pairs)) == len(pairs), 'a member name stands twice')
    return dict(pairs)

def number(text):
    value, double = Decimal(text), float(text)
    whole = value == value.to_integral_value()
    need(len(text) <= 1100 and Decimal(repr(double)) == value and (value or text[0] != '-'), 'a number with no canonical form')
    need(not whole or abs(value) < 2**53 or (abs(value) >= 10**21 and re.search('[.eE]', text)), 'a number with no canonical form')
    return int(value) if whole and abs(value) < 2**53 else double

def height(value, left=65):
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None or left == 0 else 1 + max((height(v, left - 1) for v in inner), default=0)

def canonical(value):
    if isinstance(value, dict):
        return '{' + ','.join(f'{canonical(k)}:{canonical(value[k])}' for k in sorted(value, key=lambda k: k.encode('utf-16-be'))) + '}'
    if isinstance(value, list):
        return '[' + ','.join(map(canonical, value)) + ']'
    if not isinstance(value, float):
        return WRITER.encode(value)
    text = repr(value)  # the shortest digits, as in ECMAScript; only their layout differs
    return format(Decimal(text), 'f') if 1e-6 <= abs(value) < 1e21 else re.sub('e([+-])0', r'e\1', text)

# README.md: digests, base64 that re-encodes to itself, closed objects (their forms are in forms.json)

def sha256(data):
    return hashlib.sha256(data).digest()

def digest(data):
    return 'sha256:' + sha256(data).hex()

def base64url(data):
    return base64.urlsafe_b64encode(data).decode().rstrip('=')

def unbase64(text, decode=base64.b64decode, encode=lambda data: base64.b64encode(data).decode()):
    try:
        data = decode(text)
    except ValueError:
        raise Refused('not base64') from None
    need(encode(data) == text, 'base64 that does not re-encode to itself')
    return data

def unbase64url(text):
    return unbase64(text, lambda text: base64.urlsafe_b64decode(text + '=' * (-len(text) % 4)), base64url)

HERE = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(HERE, 'forms.json'), 'rb') as forms, open(os.path.join(HERE, '..', 'denial.md'), 'rb') as page:
    FORMS = parse(forms.read())
    FORMS['$code'] = '|'.join(re.findall(r'^\| [a-z]+ \| `([a-z_]+)` \|', page.read().decode(), re.MULTILINE))
FORMS['$cause'] = FORMS['$code'] + '|tool_error|upstream_closed|cancelled'
TESTS = {'$text': lambda v: isinstance(v, str) and 0 < units(v) <= 1_024, '$string': lambda v: isinstance(v, str) and units(v) <= 1_024,
         '$name': lambda v: isinstance(v, str) and 0 < units(v) <= 2_048, '$count': lambda v: type(v) is int and v >= 0, '$true': lambda v: v is True, '$1': lambda v: type(v) is int and v == 1, '$quorum': lambda v: type(v) is int and 1 <= v <= 16, '$uses': lambda v: type(v) is int and 0 <= v <= 1_000, '$depth': lambda v: type(v) is int and 0 <= v <= 8,
         '$seconds': lambda v: type(v) is int and 0 <= v <= 86_400, '$time': lambda v: type(v) is int and 0 <= v <= 253_402_300_799_999,
         '$object': lambda v: isinstance(v, dict), '$boolean': lambda v: type(v) is bool,
         '$selector': lambda v: isinstance(v, str) and units(v) <= 3_200 and not re.search('[\x00-\x1f\x7f-\x9f]', v) and (v == 'all' or re.fullmatch(
             '(artifact|lineage):[A-Za-z0-9_-]{21}[AQgw]|(agent|subject|tool|target|policy|key|tenant):.+', v) is not None),
         '$any': lambda v: True, '$files': lambda v: isinstance(v, dict) and all(isinstance(text, str) for text in v.values())}

def units(text):
    return len(text.encode('utf-16-le')) // 2

def fits(form, value):
    """A form is a closed object (a name with `?` may be absent), a list of one form (64 of it, or as many as stand behind it), the name of a form, or a pattern."""
    if isinstance(form, dict):
        return isinstance(value, dict) and value.keys() <= {n.rstrip('?') for n in form} and all(
            fits(f, value[n.rstrip('?')]) if n.rstrip('?') in value else n[-1] == '?' for n, f in form.items())
    if isinstance(form, list):
        return isinstance(value, list) and len(value) <= (form[1:] or [64])[0] and all(fits(form[0], v) for v in value)
    if form in TESTS or form in FORMS:
        return TESTS[form](value) if form in TESTS else fits(FORMS[form], value)
    return isinstance(value, str) and re.fullmatch(form, value, re.DOTALL) is not None

# RFC 6962 section 2.1: a proof is read from its end, as the section defines it

def node(left, right):
    return sha256(b'\x01' + left + right)

def split(size):
    return 1 << (size - 1).bit_length() - 1

def tree(hashes):
    if len(hashes) < 2:
        return hashes[0] if hashes else sha256(b'')
    k = split(len(hashes))
    return node(tree(hashes[:k]), tree(hashes[k:]))

def included(index, size, leaf, path):
    """The root to which PATH(index, D[size]) leads."""
    need((size > 1) == bool(path), 'an inclusion proof of another length')
    if size == 1:
        return leaf
    k = split(size)
    if index < k:
        return node(included(index, k, leaf, path[:-1]), path[-1])
    return node(path[-1], included(index - k, size - k, leaf, path[:-1]))

def extended(old, size, root, proof, is_whole=True):
    """The roots of both trees that SUBPROOF(old, D[size], is_whole) gives; `root` is the old one."""
    if old == size:
        need(len(proof) == (0 if is_whole else 1), 'a consistency proof of another length')
        return (root, root) if is_whole else (proof[0], proof[0])
    need(proof, 'a consistency proof of another length')
    k = split(size)
    if old <= k:
        before, after = extended(old, k, root, proof[:-1], is_whole)
        return before, node(after, proof[-1])
    before, after = extended(old - k, size - k, root, proof[:-1], False)
    return node(proof[-1], before), node(proof[-1], after)

def hashes(lines):
    found = [unbase64(line) for line in lines]
    need(all(len(one) == 32 for one in found), 'not hashes')
    return found

# log.md, witness.md, receipt.md: what is signed (Ed25519 by OpenSSL)

SCRATCH = tempfile.TemporaryDirectory()
Checkpoint = collections.namedtuple('Checkpoint', 'size root text lines anchored')

# README.md: y of the points of order 1, 2, 4 and 8, under which one signature verifies for many messages
SMALL_ORDER = {0, 1, 2**255 - 20, 0x7a03ac9277fdc74ec6cc392cfa53202a0f67100d760b3cba4fd83d3d706a17c7,
               0x05fc536d880238b13933c6d305acdfd5f098eff289f4c345b027b2c28f95e826}

def is_weak(point):
    y = int.from_bytes(point, 'little') % 2**255
    return y >= 2**255 - 19 or y in SMALL_ORDER

@functools.lru_cache(maxsize=100_000)
def is_signed(public, message, signature):
    if len(signature) != 64 or is_weak(public) or is_weak(signature[:32]):
        return False
    for name, data in ('key', bytes.fromhex('302a300506032b6570032100') + public), ('message', message), ('signature', signature):
        with open(os.path.join(SCRATCH.name, name), 'wb') as file:
            file.write(data)
    command = 'openssl pkeyutl -verify -pubin -keyform DER -inkey key -rawin -in message -sigfile signature'
    return subprocess.run(command.split(), cwd=SCRATCH.name, capture_output=True, check=False).returncode == 0

def verifier_key(text, kind):
    """The name, id and public key of `name+id+base64(type ‖ key)`."""
    name, given, key = (text.split('+', 2) + ['', ''])[:3]
    key = unbase64(key)
    need(re.fullmatch(r'[^\s+]+', name) and len(key) == 33 and key[0] == kind, 'not a verifier key of this type')
    need(given == sha256(name.encode('utf-8', 'surrogateescape') + b'\n' + key)[:4].hex(), 'a verifier key with the id of another')
    return name, bytes.fromhex(given), key[1:]

def read_checkpoint(note, key):
    text, _, signatures = note.rpartition('\n\n')
    need(not re.search('[\0-\x09\x0b-\x1f]', note) and signatures.endswith('\n') and signatures.count('\n') <= 64, 'not a signed note')
    lines = {}
    for line in signatures[:-1].split('\n'):
        match = re.fullmatch(r'— ([^\s+]+) (\S+)', line)
        blob = unbase64(match[2]) if match else b''
        need(len(blob) > 4, 'not a signature line')
        lines.setdefault((match[1], blob[:4]), []).append((blob[4:], line))
    match = re.fullmatch('([^\n]+)\n(0|[1-9][0-9]{0,15})\n([^\n]+)', text)
    need(match and match[1] == key[0] and int(match[2]) < 2**53 and len(unbase64(match[3])) == 32, 'not a checkpoint of this log')
    need(len(lines.get(key[:2], [])) == 1 and is_signed(key[2], f'{text}\n'.encode(), lines[key[:2]][0][0]), 'not signed by the log key')
    return Checkpoint(int(match[2]), unbase64(match[3]), f'{text}\n', lines, f'{text}\n\n{lines[key[:2]][0][1]}\n'.encode())

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
            logs.append(verifier_key(name, 1))
        elif keyword == 'witness' and len(items) in (2, 3) and name not in defined:
            witnesses[name] = verifier_key(items[1], 4)
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

# entries.md, artifact.md

REF = re.compile('(grant:)?(0|[1-9][0-9]{0,14}):(sha256:[0-9a-f]{64})')

def references(texts):
    """What a permit's `approvals` name: each once, all of this very action or all grants."""
    refs = [REF.fullmatch(text) for text in texts]
    need(all(refs), 'neither INDEX:LEAF HASH nor grant:INDEX:LEAF HASH')
    need(len({ref[2] for ref in refs}) == len(refs) and len({ref[1] for ref in refs}) < 2, 'an approval stands twice, or grants among approvals')
    return bool(refs and refs[0][1]), [(int(ref[2]), ref[3]) for ref in refs]

def selectors(permit):
    """Every selector that meets a permit."""
    scope = permit['scope']
    return {f'artifact:{permit["jti"]}', f'lineage:{permit["txn"]}', permit['act']['sub'], f'subject:{permit["sub"]}', f'target:{scope["target"]}',
            f'tool:{scope["target"]}/{scope["name"]}', f'tenant:{permit["tenant"]}', 'all', *(f'policy:{name}' for name in permit['policy']['determining']),
            *(f'key:{permit[name]}' for name in ('aud', 'cnf') if name in permit)}

def read_entry(text, bundle):
    entry = parse(text.encode())
    need(isinstance(entry, dict) and canonical(entry) == text and len(text.encode()) <= 32_768, 'not a canonical entry')
    form = 'entry ' + ' '.join(str(entry[name]) for name in ('kind', 'purpose', 'event', 'cause') if name in entry and entry[name] != 'log')
    need(form in FORMS and fits({**FORMS['entry'], **FORMS[form]}, entry), 'not the closed form of a kind of entry')
    need(entry['tenant'] == bundle['tenant'], 'an entry of another tenant')
    groups = entry.get('groups') or (entry.get('approval') or {}).get('groups')
    need(groups is None or 0 < len(set(groups)) == len(groups), 'not groups, each once')
    if entry['kind'] == 'permit':
        references(entry['approvals'])
        need(('challenge' in entry) == (entry['use'] == 'challenge'), '`challenge` is present exactly when `use` is `challenge`')
        need(('par' in entry) == (entry['txn'] != entry['jti']) == (entry['depth'] > 0), '`par` is absent and `txn` is `jti` exactly when `depth` is 0')
        need(entry['iss'] == bundle['origin'], 'it is issued by another plane')
    if entry['kind'] == 'policy':
        need('urgent' not in entry or entry.get('mode') != 'shadow', 'an urgent shadow')
    if entry['kind'] == 'lease':
        need(len(set(entry['jtis'])) == len(entry['jtis']), 'an execution is renewed twice')
    if entry['kind'] == 'erasure':
        edges = [edge for r in entry['ranges'] for edge in (r['from'], r['to'])]
        need(edges and edges == sorted(set(edges)), 'ranges not in order')
    return entry
