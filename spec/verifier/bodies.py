"""commitment.md, action.md: the bodies behind the commitments of an entry, and which of them are gone."""
from formats import canonical, digest, is_action, need, unbase64url

class Bodies:
    def __init__(self):
        self.absent, self.erased = [], []

    def erasure(self, erasure):
        self.erased += [range(r['from'], r['to']) for r in erasure['ranges']]

    def check(self, entry, bodies, commits):
        """Each body, salt and digest belongs to the commitment of its purpose in its own entry."""
        for body in bodies if commits.get('result') != 'unknown' else []:
            purpose, its_digest = body['purpose'], bytes.fromhex(body['digest'][7:])
            need(commits.pop(purpose, None) == body['commit'], f'the entry does not commit to this {purpose}')
            need(body['commit'] == digest(f'sealwrit/v1/{purpose}\n'.encode() + unbase64url(body['salt']) + its_digest), f'the {purpose} is of another commitment')
            need('body' not in body or digest(canonical(body['body']).encode()) == body['digest'], f'the {purpose} has another digest')
            need(purpose != 'definition' or body['digest'] == entry['digest'], 'the definition has another digest')
            if purpose == 'action' and 'body' in body:
                action = body['body']
                need(is_action(action), 'not an action')
                need(entry.get('scope', action) == {name: action[name] for name in ('type', 'name', 'target')} or 'scope' not in entry, 'the scope is not that of the action')
        self.absent += [entry['seq']] * len(commits)

    def not_shown(self):
        erased = sum(any(seq in r for r in self.erased) for seq in self.absent)
        return [f'{erased} bodies were erased'] * (erased > 0) + [f'{len(self.absent) - erased} bodies are not in the bundle'] * (len(self.absent) > erased)
