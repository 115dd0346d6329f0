#!/usr/bin/env python3
"""Verifies an evidence bundle, or the folder of a mirror, offline: a second opinion, written from the pages of spec/ alone.

Needs Python 3.9 with its standard library, and the command `openssl`. Policies are not replayed, and of timestamp tokens only the
imprint is looked at, not signature and certificates: where there is something of the kind, that is said. Exit 0 established, 13 otherwise, 2 usage.
"""
import argparse, json, os, sys, time
from approvals import Approvals
from assurance import Assurance
from bodies import Bodies
from budgets import Budgets
from bundles import read_bundle, read_mirror
from environments import Environments
from foreign import Foreign
from keys import Keys
from lifecycle import LifeCycles
from lineage import Lineages
from observations import Observations
from people import People
from prohibitions import Prohibitions
from tools import Tools
from formats import Refused, canonical, digest, extended, hashes, need, read_entry, sha256, tree, unbase64, unbase64url
from notes import cosigners, has_ml_dsa, is_met, is_signed, log_key, proved, read_account, read_checkpoint, read_policy, thumbprint

# bundle.md: the verdict. A `need` that fails contradicts; what would be shown by something outside the bundle is not established

class Evidence:
    def __init__(self, bundle, key, gate_keys=()):
        self.bundle, self.key, self.keys = bundle, key, Keys(key)
        self.head = read_checkpoint(bundle['checkpoint'], self.keys.know(bundle).trusted)
        need(bundle['origin'] == key[0] and key[0].endswith(f'/{bundle["tenant"]}'), 'a bundle of another log or tenant')
        self.gates = {thumbprint(public): public for public in gate_keys}
        self.contradicted, self.not_established, self.not_shown, self.not_checked = [], [], [], []
        self.roots, self.leaves, self.last = {self.head.size: self.head.root}, {}, (-1, 0)  # the last: index and time
        self.permits, self.lives, self.numbers, self.receipts = {}, LifeCycles(self.not_established), {}, 0
        self.approvals, self.lineages = Approvals(bundle['tenant'], self.not_established), Lineages(self.not_established, self.not_shown)
        self.budgets, self.people, self.prohibitions, self.environments = Budgets(), People(), Prohibitions(), Environments()
        self.foreign, self.tools, self.observations = Foreign(bundle['origin'], self.not_established), Tools(), Observations(self.not_established, self.not_shown)
        self.prefix, self.named, self.bodies, self.assurance = 0, set(), Bodies(), Assurance(self.environments.levels, self.not_established)

    def claim(self, about, check, *given):
        try:
            check(*given)
        except Refused as refused:
            self.contradicted.append(f'{about}: {refused}')

    def check(self, held=(), policy=None, now=0):
        self.claim('witnesses', self.check_witnesses, policy, now)
        for n, link in enumerate(self.bundle['checkpoints']):
            self.claim(f'linked checkpoint {n}', self.check_link, link)
        for n, anchor in enumerate(self.bundle['anchors']):
            self.claim(f'anchor {n}', self.check_anchor, anchor)
        for n, item in enumerate(self.bundle['entries']):
            self.claim(f'entry {n}', self.check_entry, item)
        for n, policies in enumerate(self.bundle['policies']):
            self.claim(f'policy set {n}', self.check_policies, policies)
        if len(self.leaves) == self.head.size or not all('proof' in item for item in self.bundle['entries']):
            self.claim('all entries', need, tree(list(self.leaves.values())) == self.head.root, 'they are not the tree that was signed')
        for note in held:
            self.claim('a checkpoint that you hold', self.check_held, note)
        self.say_what_is_not_shown()
        self.not_established += ['the ML-DSA-65 signatures: this openssl has none'] * bool(self.key[3] and not has_ml_dsa())
        return self

    def check_witnesses(self, policy, now):
        """The checkpoint is cosigned by the quorum of the witness policy, where one is given."""
        if policy is None:
            return self.not_shown.append('no witness: that this is the only history is the word of the log key')
        logs, witnesses, groups, quorum = policy
        by = [log for log in logs if log[0] == self.key[0] and any(is_signed(log[2], self.head.text.encode(), blob) for blob, _ in self.head.lines.get(log[:2], []))]
        need(by or not logs, 'no log of the policy signed the checkpoint')
        need(is_met(quorum, groups, cosigners(self.head, witnesses, now)), 'no quorum cosigned the checkpoint')
        self.assurance.witnessed = quorum != 'none'

    def check_link(self, link):
        """Every linked checkpoint is signed by the given key, and extended by the one of the head."""
        old, proof = read_checkpoint(link['checkpoint'], self.keys.named), hashes(link['consistency'])
        need(0 < old.size <= self.head.size, 'it is newer than the head, or empty')
        need(extended(old.size, self.head.size, old.root, proof) == (old.root, self.head.root), 'the head does not extend it')
        self.roots[old.size] = old.root

    def check_held(self, note):
        """By a link, or because all entries up to there are in the bundle."""
        old = read_checkpoint(note, self.keys.named)
        root = self.roots.get(old.size, tree([self.leaves[seq] for seq in range(old.size)]) if old.size <= self.prefix else None)
        need(root in (None, old.root), f'the log has another history than yours of size {old.size}')
        if root is None:
            self.not_established.append(f'nothing in the bundle links your checkpoint of size {old.size}')

    def check_anchor(self, anchor):
        """Anchors are of checkpoints that the bundle links, or of its own."""
        checkpoint = read_checkpoint(anchor['checkpoint'], self.keys.named)
        need(self.roots.get(checkpoint.size) == checkpoint.root, 'it is of a checkpoint that the bundle does not link')
        if anchor['type'] == 'rfc3161':
            need(len(unbase64(anchor['token'])) <= 32_768 and any(sha256(one) in unbase64(anchor['token']) for one in checkpoint.anchored), 'the token is of something else')
            self.not_checked.append(f'signature and certificates of the timestamp token for size {checkpoint.size}')

    def check_policies(self, policies):
        """A policy set has the digest that decisions name."""
        need(digest(canonical(policies['files']).encode()) == policies['digest'], 'the files have another digest')
        need(policies['digest'] in self.named, 'no entry names it')
        self.not_checked.append('whether the policies decide so again')

    def check_entry(self, item):
        """Every entry is included, at its own `seq`, in order; times never go back, but where the log was re-anchored."""
        entry = read_entry(item['entry'], self.bundle)
        seq, leaf = entry['seq'], sha256(b'\0' + item['entry'].encode())
        if 'proof' in item:
            need(proved(item, self.bundle['checkpoint'], self.head.size, self.head.root) == seq, 'the proof is of another index')
        need(seq > self.last[0] and 'proof' in item or seq == self.last[0] + 1, 'it is not in the order of the log')
        need(entry['time'] >= self.last[1] or entry.get('event') == 're_anchored', 'its time goes back')
        self.leaves[seq], self.last = leaf, (seq, entry['time'])
        self.prefix += seq == self.prefix
        self.claim(f'person of entry {seq}', self.people.apply, entry, self.prefix == seq + 1)
        self.claim(f'tool of entry {seq}', self.tools.apply, entry, self.prefix == seq + 1, item['bodies'])
        if isinstance(entry.get('policy'), dict) or entry['kind'] == 'policy':
            self.named.add(entry['digest'] if entry['kind'] == 'policy' else entry['policy']['digest'])
        handler = getattr(self, f'check_{entry["kind"]}', lambda entry, leaf: {})
        commits = {'action': entry.get('action_commit'), **{name: (entry.get('policy') or {}).get(f'{name}_commit') for name in ('inputs', 'shadow', 'redacted')}, 'purpose': entry.get('purpose_commit'), 'definition': entry.get('definition_commit')}
        commits.update(handler(entry, f'sha256:{leaf.hex()}') or {})
        commits['delegation'], commits['foreign'] = entry.get('delegates', {}).get('terms_commit'), self.foreign.taken(entry)
        if entry['kind'] == 'permit':
            self.approvals.permit(entry, item['bodies'])
            for rule in (self.budgets, self.environments): rule.permit(entry)
            self.observations.permit(entry, self.prefix > seq)
            self.lineages.permit(entry, f'sha256:{leaf.hex()}', item['bodies'], self.prefix > seq, self.life)
        if entry['kind'] == 'approval':
            commits.update(self.approvals.approval(entry, f'sha256:{leaf.hex()}', item['bodies']))
        self.bodies.check(entry, item['bodies'], {purpose: commit for purpose, commit in commits.items() if commit})

    def check_permit(self, permit, leaf):
        need(permit['jti'] not in self.permits, 'a second permit of this `jti`')
        self.permits[permit['jti']] = permit, leaf
        self.lives.permit(permit)
        self.prohibitions.permit(permit)
        self.keys.check_gate(permit['aud'], permit['seq'])

    def life(self, jti):
        return self.permits.get(jti, (None, ''))[0], self.lives.endings.get(jti), jti in self.lives.redeemed

    def check_policy(self, policy, _leaf):
        for rule in (self.lineages, self.observations): rule.policy(policy)

    def check_revocation(self, revocation, _leaf): self.prohibitions.revocation(revocation)

    def check_kill(self, kill, _leaf): self.prohibitions.kill(kill)

    def check_lease(self, lease, _leaf):
        self.keys.check_gate(lease['gate'], lease['seq'])
        self.prohibitions.lease(lease, self.life)
        self.observations.lease(lease, self.prefix > lease['seq'])

    def check_deny(self, deny, _leaf):
        """`denial` is signed by the gate that the entry names, with the same code, gate and tenant."""
        self.lineages.deny(deny)
        self.lives.deny(deny)
        if 'denial' in deny and self.key_of(deny, deny.get('aud')) and self.counts(deny, deny['aud']):
            claims = read_account(deny['denial'], 'execution-denial+jwt', deny['aud'], self.gates[deny['aud']])
            need([claims[name] for name in ('code', 'gate', 'tenant')] == [deny[name] for name in ('code', 'aud', 'tenant')], 'denial and entry disagree')

    def check_receipt(self, receipt, _leaf):
        """A receipt is signed by the gate of its permit, and names its leaf, gate and tenant. What is not established ends nothing."""
        self.receipts += 1
        permit, leaf = self.permit_of(receipt)
        if permit is None or not self.key_of(receipt, permit['aud']):
            return {'result': 'unknown'}
        self.keys.check_gate(permit['aud'], receipt['seq'])
        if not self.counts(receipt, permit['aud']):
            return {'result': 'unknown'}
        claims = read_account(receipt['receipt'], 'execution-receipt+jwt', permit['aud'], self.gates[permit['aud']])
        need([claims[name] for name in ('jti', 'leaf_hash', 'gate', 'tenant')] == [receipt['jti'], leaf, permit['aud'], permit['tenant']], 'the receipt is about another permit')
        need('started' not in claims or (permit['nbf'] - 30) * 1000 <= claims['started'] < (permit['exp'] + 30) * 1000, 'it began outside of the time of its permit')
        self.keys.check_anchor(claims)
        used = self.numbers.setdefault((claims['gate'], claims['session']), set())
        need(claims['sequence'] not in used, 'the gate used a sequence number twice in a session')
        used.add(claims['sequence'])
        self.claim(f'assurance of entry {receipt["seq"]}', self.assurance.receipt, claims, permit)
        self.lives.receipt(receipt, claims, self.prefix)
        return {'result': claims.get('result_commit')}

    def check_expiry(self, expiry, _leaf):
        permit, leaf = self.permit_of(expiry)
        if permit is not None:
            need(expiry['leaf_hash'] == leaf, 'the ending is of another permit')
            self.lives.expiry(expiry, self.prefix)

    def permit_of(self, entry):
        if entry['jti'] not in self.permits:
            self.not_established.append(f'the permit of entry {entry["seq"]} is not in the bundle before it')
        return self.permits.get(entry['jti'], (None, ''))

    def key_of(self, entry, gate):
        """The key given, or else as enrolled in the log."""
        if gate not in self.gates:
            self.not_established.append(f'the key of the gate of entry {entry["seq"]} is neither given nor enrolled in the bundle before it')
        return gate in self.gates

    def counts(self, entry, gate):
        """Below the index from which on its key is revoked."""
        self.not_established += [f'entry {entry["seq"]} is of a gate whose key is revoked from there on'] * (not self.keys.counts(gate, entry['seq']))
        return self.keys.counts(gate, entry['seq'])

    def check_redemption(self, redemption, _leaf):
        """Once, before any ending, by the gate that the permit names, with its leaf hash and `exp`, in its time."""
        jti, (permit, leaf) = redemption['jti'], self.permit_of(redemption)
        if permit is None:
            return
        need([redemption[name] for name in ('leaf_hash', 'aud', 'exp')] == [leaf, permit['aud'], permit['exp']], 'it is not of this permit')
        need((permit['nbf'] - 30) * 1000 <= redemption['time'] < permit['exp'] * 1000, 'it is out of its time')
        self.lives.redemption(jti)
        self.lineages.redemption(redemption, self.prefix > redemption['seq'], self.life)

    def check_gate(self, gate, _leaf):
        """A gate is the RFC 7638 thumbprint of its key."""
        self.keys.check_gate(gate['gate'], gate['seq'], gate)
        if gate['event'] == 'enrolled':
            public = unbase64url(gate['key'])
            need(len(public) == 32 and thumbprint(public) == gate['gate'], 'the gate is not the thumbprint of its key')
            if gate['gate'] not in self.gates:
                self.not_shown.append(f'gate {gate["gate"]}: its key is only as the plane enrolled it')
            self.gates[gate['gate']] = public
        return self.environments.session(gate) if gate['event'] == 'session' else {}

    def check_erasure(self, erasure, _leaf):
        self.bodies.erasure(erasure)

    def check_hold(self, hold, leaf): self.approvals.hold(hold, leaf)
    def check_assessment(self, found, _leaf): need(found['size'] <= found['seq'] and found['at'] <= found['time'] + 30_000, 'an assessment of what was not there yet')
    def check_voucher(self, voucher, _leaf): self.approvals.voucher(voucher)

    def check_key(self, key, _leaf):
        self.keys.entry(key)
        if key['event'] == 're_anchored':
            self.not_shown.append(f'the log was re-anchored at index {key["seq"]}; a tree of size {key["lost"]["size"]} was lost')
            self.lineages.parents = {}
        return self.approvals.key(key)

    def say_what_is_not_shown(self):
        self.not_shown += ['changes of roles that stand outside of this bundle'] * self.people.is_part + self.tools.not_shown()
        for jti in self.permits.keys() - self.lives.endings.keys():
            self.not_shown.append(f'permit {jti} is open')
        for (gate, session), used in self.numbers.items():
            if len(used) <= max(used):
                self.not_shown.append(f'{max(used) + 1 - len(used)} receipts of gate {gate} in session {session}')
        self.not_shown += self.bodies.not_shown()
        self.observations.end()

def report(source, key, gate_keys=(), held=(), policy=None, now=None):
    """The verdict on a file's bytes, or on the folder of a mirror: established or contradicted, and what is not established, shown, checked."""
    try:
        bundle = read_bundle(source) if isinstance(source, bytes) else read_mirror(source)
        found = Evidence(bundle, key, gate_keys).check(held, policy, time.time() if now is None else now)
    except (Refused, OSError, ValueError, IndexError) as refused:
        return {'verdict': 'contradicted', 'contradicted': [str(refused)]}
    return {'verdict': 'contradicted' if found.contradicted else 'established', 'entries': len(found.leaves), 'permits': len(found.permits),
            'receipts': found.receipts, 'contradicted': found.contradicted, 'not_established': found.not_established, 'not_shown': found.not_shown,
            'not_checked': sorted(set(found.not_checked))}

def content(name):
    with open(name, 'rb') as file:
        return file.read()

def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('file', help='an evidence bundle, or the folder of a mirror')
    parser.add_argument('--key', required=True, help='the verifier key of the log, or a file that holds it')
    parser.add_argument('--gate-key', action='append', default=[], help='base64url of the public key of a gate, held independently')
    parser.add_argument('--checkpoint', action='append', default=[], help='a file with a signed checkpoint that you hold')
    parser.add_argument('--witness-policy', help='a file with a C2SP tlog-policy')
    parser.add_argument('--json', action='store_true')
    given = parser.parse_args()
    try:
        key = log_key(*(content(given.key).decode() if os.path.isfile(given.key) else given.key).split()[:2])
        gate_keys = [unbase64url(text) for text in given.gate_key]
        need(all(len(public) == 32 for public in gate_keys), 'a gate key has 32 bytes')
        held = [content(name).decode() for name in given.checkpoint]
        policy = read_policy(content(given.witness_policy)) if given.witness_policy else None
        source = given.file if os.path.isdir(given.file) else content(given.file)
    except (Refused, OSError, UnicodeError) as error:
        parser.error(str(error))
    found = report(source, key, gate_keys, held, policy)
    if given.json:
        print(json.dumps(found))
    else:
        print(found['verdict'], *(f'{found[name]} {name}' for name in ('entries', 'permits', 'receipts') if name in found))
        for name in 'contradicted', 'not_established', 'not_shown', 'not_checked':
            for text in found.get(name, []):
                print(f'  {name.replace("_", " ")}: {text.encode("unicode_escape").decode()}')
    return 0 if found['verdict'] == 'established' else 13

if __name__ == '__main__':
    sys.exit(main())
