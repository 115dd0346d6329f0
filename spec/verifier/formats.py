"""The formats under an evidence bundle, written from the pages of spec/ alone: canonical JSON, closed objects, the Merkle tree, entries."""
import base64, hashlib, json, os, re
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
MEASURE = '[a-z][a-z0-9_]{0,39}'
TESTS = {'$text': lambda v: isinstance(v, str) and 0 < units(v) <= 1_024, '$string': lambda v: isinstance(v, str) and units(v) <= 1_024,
         '$name': lambda v: isinstance(v, str) and 0 < units(v) <= 2_048, '$carried': lambda v: isinstance(v, str) and units(v) <= 65_536, '$count': lambda v: type(v) is int and v >= 0, '$positive': lambda v: type(v) is int and v > 0, '$true': lambda v: v is True, '$1': lambda v: type(v) is int and v == 1, '$quorum': lambda v: type(v) is int and 1 <= v <= 16, '$uses': lambda v: type(v) is int and 0 <= v <= 1_000, '$depth': lambda v: type(v) is int and 0 <= v <= 8, '$levels': lambda v: type(v) is int and 1 <= v <= 8, '$below': lambda v: type(v) is int and 1 <= v <= 1_000_000,
         '$seconds': lambda v: type(v) is int and 0 <= v <= 86_400, '$time': lambda v: type(v) is int and 0 <= v <= 253_402_300_799_999,
         '$object': lambda v: isinstance(v, dict), '$boolean': lambda v: type(v) is bool,
         '$epoch': lambda v: type(v) is int and 0 <= v <= 256, '$selector': lambda v: isinstance(v, str) and units(v) <= 3_200 and not re.search('[\x00-\x1f\x7f-\x9f]', v) and (v == 'all' or re.fullmatch(
             '(artifact|lineage):[A-Za-z0-9_-]{21}[AQgw]|(agent|subject|tool|target|policy|key|tenant):.+', v) is not None),
         '$label': lambda v: isinstance(v, str) and 0 < units(v) <= 64, '$maturity': lambda v: type(v) is int and 0 <= v <= 5, '$grades': lambda v: isinstance(v, dict) and 0 < len(v) <= 16 and all(re.fullmatch(MEASURE, name) and type(n) is int and 0 <= n <= 5 for name, n in v.items()),
         '$measures': lambda v: isinstance(v, dict) and len(v) <= 128 and all(re.fullmatch(MEASURE, name) and type(n) is int and 0 <= n for name, n in v.items()),
         '$any': lambda v: True, '$files': lambda v: isinstance(v, dict) and all(isinstance(text, str) for text in v.values())}

def units(text):
    return len(text.encode('utf-16-le')) // 2

def is_action(body):
    return isinstance(body, dict) and fits(FORMS.get(f'action {body.get("type")}', '$none'), body)

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

# entries.md, artifact.md

REF = re.compile('(grant:)?(0|[1-9][0-9]{0,14}):(sha256:[0-9a-f]{64})')

def references(texts):
    """What a permit's `approvals` name: each once, all of this very action or all grants."""
    refs = [REF.fullmatch(text) for text in texts]
    need(all(refs), 'neither INDEX:LEAF HASH nor grant:INDEX:LEAF HASH')
    need(len({ref[2] for ref in refs}) == len(refs) and len({ref[1] for ref in refs}) < 2, 'an approval stands twice, or grants among approvals')
    return bool(refs and refs[0][1]), [(int(ref[2]), ref[3]) for ref in refs]

def own_selectors(permit):
    scope = permit['scope']
    return {f'artifact:{permit["jti"]}', f'lineage:{permit["txn"]}', permit['act']['sub'], f'subject:{permit["sub"]}', f'target:{scope["target"]}',
            f'tool:{scope["target"]}/{scope["name"]}', f'tenant:{permit["tenant"]}', 'all', *(f'policy:{name}' for name in permit['policy']['determining']),
            *(f'key:{permit[name]}' for name in ('aud', 'cnf') if name in permit)}

def selectors(permit):
    """Every selector that meets a permit or an ancestor of it."""
    return own_selectors(permit) | set(permit.get('above', []))

def check_place(permit):
    """lineage.md: what a permit says of its place agrees with itself."""
    above = permit.get('above', [])
    need(('par' in permit) == ('above' in permit) == (permit['txn'] != permit['jti']) == (permit['depth'] > 0), '`par` and `above` are absent and `txn` is `jti` exactly when `depth` is 0')
    coded = [text.encode('utf-16-be') for text in above]
    need(coded == sorted(set(coded)), '`above` is not in order, each once')
    ancestors = [text[len('artifact:'):] for text in above if text.startswith('artifact:')]
    if ancestors or 'par' in permit:
        need(len(ancestors) == permit['depth'] and permit['jti'] not in ancestors and {permit['txn'], permit['par']['jti']} <= set(ancestors), '`above` does not name its ancestors')
        need(permit['depth'] > 1 or permit['par']['jti'] == permit['txn'], 'the parent is not the root')

def read_entry(text, bundle):
    entry = parse(text.encode())
    need(isinstance(entry, dict) and canonical(entry) == text and len(text.encode()) <= 32_768, 'not a canonical entry')
    form = 'entry ' + ' '.join(str(entry[name]) for name in ('kind', 'purpose', 'event', 'cause') if name in entry and entry[name] != 'log')
    need(form in FORMS and fits({**FORMS['entry'], **FORMS[form]}, entry), 'not the closed form of a kind of entry')
    need(entry['tenant'] == bundle['tenant'], 'an entry of another tenant')
    groups = entry.get('groups', (entry.get('approval') or {}).get('groups'))
    need(groups is None or 0 < len(set(groups)) == len(groups), 'not groups, each once')
    if entry['kind'] == 'permit':
        references(entry['approvals'])
        need(('challenge' in entry) == (entry['use'] == 'challenge'), '`challenge` is present exactly when `use` is `challenge`')
        check_place(entry)
        governed = entry['approvals'] or entry['depth'] or 'delegates' in entry or entry['constraints']['obligations'] or 'budgets' in entry['constraints']
        need('observed' not in entry or (entry['assurance'], entry['use']) == ('A1', 'challenge') and not governed, 'an observed permit with what only a governed one has')
        need(entry['iss'] == bundle['origin'], 'it is issued by another plane')
    if entry['kind'] == 'policy':
        need('urgent' not in entry or entry.get('mode') != 'shadow', 'an urgent shadow')
    if entry['kind'] == 'lease':
        need(len(set(entry['jtis'])) == len(entry['jtis']), 'an execution is renewed twice')
    if entry['kind'] == 'assessment':
        need(entry['level'] == min(entry['dimensions'].values()), 'the level is not the least of its dimensions')
    if entry['kind'] == 'erasure':
        edges = [edge for r in entry['ranges'] for edge in (r['from'], r['to'])]
        need(edges and edges == sorted(set(edges)), 'ranges not in order')
    return entry
