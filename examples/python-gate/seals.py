"""What a gate has to be shown before it runs anything: spec/artifact.md, log.md, keys.md. What it signs: receipt.md, denial.md."""
import ctypes, ctypes.util, functools, os, re, sys, time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / 'spec' / 'verifier'))
sys.dont_write_bytecode = True
import assurance, formats, notes
from formats import FORMS, Refused, base64url, canonical, digest, extended, fits, hashes, included, need, own_selectors, parse, sha256, unbase64, unbase64url
from keys import Keys

CODES = {code: (check, int(number), meaning) for check, code, number, meaning in
         re.findall(r'^\| ([a-z]+) \| `([a-z_]+)` \| \d+ \| (-\d+) \| ([^|]+) \|', Path(formats.HERE, '..', 'denial.md').read_text(), re.MULTILINE)}
CHECKS = ('authorization', 'conditions', 'cryptography', 'environment', 'identity', 'lineage', 'policy', 'state')
SKEW, WINDOW = 30, 60  # seconds

class Denied(Exception):
    def __init__(self, code, *, seq=None, hold=None, run=None):
        super().__init__(code)
        self.code, self.seq, self.hold, self.run = code, seq, hold, run

def demand(holds, code):
    if not holds:
        raise Denied(code)

# Ed25519 by libcrypto

CRYPTO = ctypes.CDLL(ctypes.util.find_library('crypto'))
for name in 'EVP_PKEY_new_raw_private_key', 'EVP_PKEY_new_raw_public_key', 'EVP_MD_CTX_new':
    getattr(CRYPTO, name).restype = ctypes.c_void_p
ED25519 = 1087  # EVP_PKEY_ED25519

def with_key(make, data, use):
    key, context = ctypes.c_void_p(make(ED25519, None, data, ctypes.c_size_t(32))), ctypes.c_void_p(CRYPTO.EVP_MD_CTX_new())
    try:
        return bool(key) and use(key, context)
    finally:
        CRYPTO.EVP_MD_CTX_free(context)
        CRYPTO.EVP_PKEY_free(key)

def public_of(private):
    out, size = ctypes.create_string_buffer(32), ctypes.c_size_t(32)
    with_key(CRYPTO.EVP_PKEY_new_raw_private_key, private, lambda key, _: CRYPTO.EVP_PKEY_get_raw_public_key(key, out, ctypes.byref(size)))
    return out.raw

def sign(private, message):
    out, size = ctypes.create_string_buffer(64), ctypes.c_size_t(64)
    done = with_key(CRYPTO.EVP_PKEY_new_raw_private_key, private, lambda key, context: CRYPTO.EVP_DigestSignInit(context, None, None, None, key) == 1
                    and CRYPTO.EVP_DigestSign(context, out, ctypes.byref(size), message, ctypes.c_size_t(len(message))) == 1)
    assert done and size.value == 64
    return out.raw

by_command = notes.is_signed

@functools.lru_cache(maxsize=1_000)
def is_signed(public, message, signature, prefix=notes.ED25519):
    """As that of the verifier, and without a process for each."""
    if prefix != notes.ED25519:
        return by_command(public, message, signature, prefix)
    if len(signature) != 64 or notes.is_weak(public) or notes.is_weak(signature[:32]):
        return False
    return with_key(CRYPTO.EVP_PKEY_new_raw_public_key, public, lambda key, context: CRYPTO.EVP_DigestVerifyInit(context, None, None, None, key) == 1
                    and CRYPTO.EVP_DigestVerify(context, signature, ctypes.c_size_t(64), message, ctypes.c_size_t(len(message))) == 1)

notes.is_signed = is_signed

def token_of(private, kind, claims):
    head = base64url(canonical({'alg': 'Ed25519', 'kid': notes.thumbprint(public_of(private)), 'typ': kind}).encode())
    signed = f'{head}.{base64url(canonical(claims).encode())}'
    return f'{signed}.{base64url(sign(private, signed.encode()))}'

# What is committed to

def commitment(purpose, salt, body):
    return digest(f'sealwrit/v1/{purpose}\n'.encode() + salt + sha256(canonical(body).encode()))

def fresh():
    return base64url(os.urandom(16))

# A seal, and the log that it stands in

PROOF = re.compile(r'c2sp\.org/tlog-proof@v1\n(?:extra ([^\n]+)\n)?index (0|[1-9][0-9]{0,15})\n((?:[^\n]+\n)*)\n(.*)', re.DOTALL)

class Seal:
    """The parts of a seal, of which nothing has been shown."""
    def __init__(self, sealed):
        demand(sealed is not None, 'artifact_missing')
        form = {'entry': '$any', 'proof': '$any'}
        demand(fits(form, sealed) and all(isinstance(part, str) for part in sealed.values()), 'artifact_malformed')
        self.text, match = sealed['entry'], PROOF.fullmatch(sealed['proof'])
        demand(match, 'artifact_malformed')
        try:
            self.salt = unbase64(match[1]) if match[1] else None
            self.index, self.path, self.note = int(match[2]), hashes(match[3].split('\n')[:-1]), match[4]
            self.leaf = sha256(b'\0' + self.text.encode())
        except (Refused, ValueError):
            raise Denied('artifact_malformed') from None

class Log:
    """The newest tree that was shown, and the keys that may sign the next."""
    def __init__(self, vkey, tenant):
        self.keys = Keys(notes.log_key(*vkey.split('\n')[:2]))
        self.origin, self.tenant = self.keys.held[0], tenant
        self.size, self.root, self.note = 0, None, None

    def checkpoint(self, note):
        """The tree of a checkpoint that a key of this log signed."""
        try:
            text, lines = notes.read_note(note)
        except Refused:
            raise Denied('artifact_malformed') from None
        demand(text.split('\n')[0] == self.origin and any(key[:2] in lines for key, _ in self.keys.trusted), 'key_unknown')
        demand(len(text.split('\n')) == 4, 'artifact_malformed')
        try:
            return notes.read_checkpoint(note, self.keys.trusted)
        except Refused:
            able = [key for key, until in self.keys.trusted if key[:2] in lines and (until is None or until >= int(text.split('\n')[1]))]
            raise Denied('signature_invalid' if able else 'key_revoked') from None

    def follow(self, statements, note):
        """The keys that lead on from the given one, all of them as they are told with a session. @raises Refused"""
        told = Keys(self.keys.held)
        told.give({'checkpoint': note, 'tenant': self.tenant, 'origin': self.origin}, statements, lambda item: proved(item, note))
        need(told.log[:len(self.keys.log)] == self.keys.log, 'a statement that was known is left out')
        self.keys = told

    def learn(self, entry):
        read(self, entry, 'key')
        if entry['purpose'] in ('log', 'gate'):
            self.keys.add(entry)
            self.keys.follow()

    def extend(self, head, proof):
        demand(self.accepts(head, proof), 'state_diverged')
        self.size, self.root, self.note = head.size, head.root, head.anchored[0].decode()

    def accepts(self, head, proof):
        if self.size == 0:
            return True
        try:
            need(isinstance(proof, list) and head.size >= self.size, 'smaller')
            return extended(self.size, head.size, self.root, hashes(proof)) == (self.root, head.root)
        except (Refused, AttributeError, TypeError, ValueError):
            return False

def proved(item, note):
    size, root = note.split('\n')[1:3]
    return notes.proved(item, note, int(size), unbase64(root))

def leaf_of(seal, head):
    """The entry of a seal: that it stands in the tree at the index that it says."""
    try:
        stands = seal.index < head.size and included(seal.index, head.size, seal.leaf, seal.path) == head.root
    except (Refused, IndexError):
        stands = False
    demand(stands, 'seal_invalid')
    try:
        entry = parse(seal.text.encode())
        need(isinstance(entry, dict) and canonical(entry) == seal.text, 'not canonical')
    except (Refused, UnicodeError):
        raise Denied('artifact_malformed') from None
    demand(type(entry.get('seq')) is not int or entry['seq'] == seal.index, 'seal_invalid')
    return entry

def read(log, entry, *kinds):
    """An entry of one of these kinds in its closed form, of this log."""
    demand(entry.get('v') == 1 and entry.get('kind') in kinds, 'type_mismatch')
    demand(entry.get('iss', log.origin) == log.origin, 'key_unknown')
    try:
        formats.read_entry(canonical(entry), {'tenant': entry.get('tenant'), 'origin': log.origin})
    except (Refused, TypeError, KeyError, AttributeError):
        raise Denied('artifact_malformed') from None
    demand(entry['tenant'] == log.tenant, 'tenant_mismatch')
    return entry

# A permit

def window(permit, now):
    demand(permit['exp'] - permit['nbf'] <= WINDOW and permit['exp'] - permit['iat'] <= WINDOW and permit['nbf'] < permit['exp'], 'lifetime_exceeded')
    demand(now >= permit['nbf'] - SKEW, 'artifact_not_yet_valid')
    demand(now < permit['exp'], 'artifact_expired')

def who(permit, run):
    demand((permit['sub'], permit['act']) == (run.gate.sub, run.actor), 'subject_mismatch')
    demand('cnf' not in permit, 'proof_of_possession_failed')  # this gate passes no identity on

def what(permit, salt, run):
    scope = {name: run.action[name] for name in ('type', 'name', 'target')}
    demand(permit['scope'] == scope and salt is not None and len(salt) == 16 and permit['action_commit'] == commitment('action', salt, run.action), 'action_mismatch')

def prohibited(gate, permit):
    """What was revoked or killed after the permit; the plane gives none behind what forbids it."""
    own, above = own_selectors(permit), set(permit.get('above', []))
    revoked, killed = ({selector for selector, seq in told.items() if seq > permit['seq']} for told in (gate.revoked, gate.killed))
    demand(not own & revoked, 'revoked')
    demand(not own & killed, 'killed')
    demand(not above & (revoked | killed), 'ancestor_revoked')

def surroundings(gate, permit):
    demand(permit['env']['level'] != 'none', 'environment_unattested')
    demand(gate.environment.measured() == gate.environment.document and permit['env'] == {'commit': gate.environment.commit, 'level': 'software'}, 'environment_mismatch')

def enough(permit):
    """What this gate reaches is A3 at most: it asks no witnesses, contains nothing, and measures by software."""
    wanted = permit['assurance']
    demand(wanted < 'A3' or assurance.initiator(permit) is not None, 'identity_missing')
    demand(wanted < 'A4' or assurance.initiator(permit) in ('key', 'issuer'), 'identity_missing')
    demand(wanted < 'A4', 'environment_unattested')

def judge(run, steps):
    """The steps in their order; what each of the eight checks came to is kept for the account."""
    left = [check for check, _ in steps]
    for check, step in steps:
        try:
            step()
        except Denied as denied:
            run.checks[CODES[denied.code][0]] = 'fail'
            denied.run = run
            raise
        except Exception as error:
            print(f'gate: {error!r}', file=sys.stderr)
            run.checks[check or 'conditions'] = 'error'
            raise Denied('unavailable', run=run) from None
        left.pop(0)
        if check and check not in left:
            run.checks[check] = 'pass'

def shown(run, sealed, proof, carried=None):
    """The steps of artifact.md for the answer to this run's question; of `carried` those for the answer to a redemption."""
    gate, log, at = run.gate, run.gate.log, {}
    now = lambda: max(int(time.time()), 0)
    def seal():
        at['seal'] = Seal(sealed)
    def checkpoint():
        at['head'] = log.checkpoint(at['seal'].note)
    def entry(*kinds):
        at['entry'] = read(log, at['entry'], *kinds)
    def permit(at_entry=None):
        run.salt, run.permit, run.leaf = at['seal'].salt, at['entry'], 'sha256:' + at['seal'].leaf.hex()
        demand(run.permit['aud'] == gate.id, 'audience_mismatch')
    def challenge(holder):
        # removed in the step that finds it: another answer finds none
        asked, run.challenge_open = run.challenge_open, False
        demand(asked and holder.get('challenge') == run.challenge, 'challenge_mismatch')
        run.is_mine = True
    def epoch():
        demand(run.permit['policy']['epoch'] >= gate.epoch, 'policy_rollback')
        gate.epoch = run.permit['policy']['epoch']
    def agrees():
        one, other = at['redemption'], at['entry']
        demand(Seal(carried).text == at['seal'].text and other['use'] == 'redeem', 'seal_invalid')
        demand((one['jti'], one['leaf_hash'], one['exp']) == (other['jti'], 'sha256:' + at['seal'].leaf.hex(), other['exp']) and one['seq'] > other['seq'], 'seal_invalid')
        demand(one['aud'] == other['aud'], 'audience_mismatch')
    steps = [('authorization', seal), ('cryptography', checkpoint), ('state', lambda: log.extend(at['head'], proof)),
             ('cryptography', lambda: at.update(entry=leaf_of(at['seal'], at['head'])))]
    if carried is None:
        steps += [('cryptography', lambda: entry('permit')), ('authorization', permit),
                  ('authorization', lambda: demand(run.permit['use'] == 'challenge', 'challenge_mismatch')), ('authorization', lambda: challenge(run.permit))]
    else:
        def again():
            at.update(redemption=at['entry'], note=at['seal'].note, seal=Seal(run.redeemed))
        def same():
            demand(at['seal'].note == at['note'], 'seal_invalid')
            at.update(entry=leaf_of(at['seal'], at['head']))
        steps += [('cryptography', lambda: entry('redemption')), ('authorization', again), ('cryptography', same), ('cryptography', lambda: entry('permit')),
                  ('authorization', agrees), ('authorization', permit), ('authorization', lambda: challenge(at['redemption']))]
    return steps + [
        ('authorization', lambda: window(run.permit, now())),
        ('identity', lambda: who(run.permit, run)),
        ('policy', epoch),
        ('state', lambda: demand(gate.wall() is not None, 'clock_rollback')),
        ('state', lambda: prohibited_own(gate, run.permit)),
        ('lineage', lambda: demand(carried is not None or 'par' not in run.permit, 'parent_unknown')),
        ('lineage', lambda: prohibited(gate, run.permit)),
        ('environment', lambda: surroundings(gate, run.permit)),
        ('conditions', lambda: what(run.permit, run.salt, run)),
        ('conditions', lambda: demand(run.permit.get('intent') is None or carried is not None, 'action_mismatch')),
        ('conditions', lambda: demand(not run.permit['constraints']['obligations'], 'obligation_unknown')),
        ('conditions', lambda: demand('observed' not in run.permit, 'obligation_unknown')),
        (None, lambda: enough(run.permit)),
    ]

def prohibited_own(gate, permit):
    prohibited(gate, {name: value for name, value in permit.items() if name != 'above'})

def presented(run, sealed):
    """What is looked at before a carried artifact is spent."""
    gate, log, at = run.gate, run.gate.log, {}
    def stands():
        at['entry'] = leaf_of(at['seal'], at['head'])
    def permit():
        at['entry'] = read(log, at['entry'], 'permit')
    return [
        ('authorization', lambda: at.update(seal=Seal(sealed))),
        ('cryptography', lambda: at.update(head=log.checkpoint(at['seal'].note))),
        ('cryptography', stands), ('cryptography', permit),
        ('authorization', lambda: demand(at['entry']['aud'] == gate.id, 'audience_mismatch')),
        ('authorization', lambda: demand(at['entry']['use'] == 'redeem', 'challenge_mismatch')),
        ('authorization', lambda: window(at['entry'], int(time.time()))),
        ('identity', lambda: who(at['entry'], run)),
        ('conditions', lambda: what(at['entry'], at['seal'].salt, run)),
    ]
