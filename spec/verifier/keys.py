"""keys.md: which keys a log had, which of them the given one leads to, and from which index on the word of a key counts for nothing."""
import re
from formats import canonical, digest, need, read_entry, unbase64
from notes import key_text, log_key, proved, read_note, signs

class Keys:
    """`trusted`: the given key and those it leads to; `named`: all that the log names. Each with the largest tree that it may sign."""
    def __init__(self, held):
        self.held, self.log, self.gates, self.ahead = held, [], {}, {}
        self.trusted, self.named = [(held, None)], [(held, None)]

    def know(self, bundle):
        """Of a bundle by its head, proved under its checkpoint; of a mirror from its own entries, whose tree is compared."""
        if 'keys' in bundle:
            _, size, root = read_note(bundle['checkpoint'])[0].split('\n')[:3]
            self.give(bundle, bundle['keys'], lambda item: proved(item, bundle['checkpoint'], int(size), unbase64(root)))
        elif not all('proof' in item for item in bundle['entries']):
            own = [dict(item, at=n) for n, item in enumerate(bundle['entries']) if re.search('"kind":"key",.*"purpose":"(log|gate)"', item['entry'])]
            self.give(bundle, own, lambda item: item['at'])
        return self

    def give(self, bundle, items, index_of):
        """What goes along with the head, before anything is judged by it."""
        last = -1
        for item in items:
            entry = read_entry(item['entry'], bundle)
            need(entry['kind'] == 'key' and entry['purpose'] in ('log', 'gate'), 'not about a key of the log or of a gate')
            need(index_of(item) == entry['seq'] > last, 'not at its place, or not in the order of the log')
            last = entry['seq']
            self.ahead[last] = item['entry']
            self.add(entry)
        self.follow()

    def add(self, entry):
        if entry['purpose'] == 'log':
            return self.log.append(entry)
        start, seq = self.gates.get(entry['gate'], (entry['seq'] + 1, entry['seq']))
        need(entry['from'] < start, 'a gate is revoked from an index that is to come, or for less than before')
        self.gates[entry['gate']] = entry['from'], seq

    def follow(self):
        """Each key is vouched for by the one before it; it is trusted where that one is, and was not revoked by then."""
        until, named, trusted, epoch = {}, [], [], 0
        for entry in self.log:
            if entry['event'] == 'revoked':
                until[entry['key']] = min(entry['from'], until.get(entry['key'], entry['from']))
        for entry in self.log:
            if entry['event'] == 'revoked':
                need(entry['key'] in [text for _, text in named[:-1]] and entry['from'] <= entry['seq'], 'a key is revoked that is not of this log, or has no successor')
                continue
            key = log_key(entry['key'], entry.get('pq_key'))
            again, epoch, follows = [one for one in named if one[0][1] == key[1]], epoch + 1, False
            need(key[0] == self.held[0] and (not again or entry['event'] == 're_anchored'), 'a key of another log, or one that comes back')
            named, trusted = [one for one in named if one not in again], [one for one in trusted if one[1] != key[1]]
            if entry['event'] == 'rotated':
                text, lines = read_note(entry['note'])
                need(named and text == f'sealwrit/v1/log-key\n{key[0]}\n{entry["epoch"]}\n' + '\n'.join(filter(None, [entry['key'], entry.get('pq_key')])) + '\n', 'the note says something else')
                need(entry['epoch'] == epoch, 'another key epoch')
                before, name = named[-1]
                need(signs(before, text, lines) and signs(key, text, lines), 'the key before it does not vouch for it, or it did not sign itself')
                follows = before in trusted and until.get(name, entry['seq'] + 1) > entry['seq']
            named.append((key, entry['key']))
            if key[:3] == self.held[:3] and self.held[3] in (None, key[3]):
                key, follows = self.held, True
                named[-1] = key, entry['key']
            if follows:
                trusted.append(key)
        limits = {key: until.get(text) for key, text in named}
        self.trusted = [(key, limits[key]) for key in trusted] + [(self.held, None)] * (self.held not in limits)
        self.named = list(limits.items()) + [(self.held, None)] * (self.held not in limits)

    def entry(self, entry):
        """A statement among the entries is one of those that were given first."""
        if entry['purpose'] in ('log', 'gate') and entry['event'] in ('rotated', 'revoked'):
            need(self.ahead.get(entry['seq']) == canonical(entry), 'it is not among those that were given first')

    def check_anchor(self, said):
        """The log key that a gate was given is one of this log."""
        need('anchor' not in said or said['anchor'] in [digest(key_text(key).encode()) for key, _ in self.named], 'the gate was given another log key')

    def counts(self, gate, seq):
        return seq < self.gates.get(gate, (seq + 1, 0))[0]

    def check_gate(self, gate, seq, said=()):
        self.check_anchor(said)
        need(gate not in self.gates or seq <= self.gates[gate][1], 'a gate goes on after its key was revoked')
