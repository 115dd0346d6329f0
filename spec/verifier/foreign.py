"""federation.md: what was taken from other planes, once and under histories that only grow. That they said so is not checked here."""
from formats import need, unbase64url

class Foreign:
    def __init__(self, origin, not_established):
        self.origin, self.not_established, self.spent, self.newest = origin, not_established, set(), {}

    def taken(self, entry):
        """A permit of another plane is the parent of one permit, what is known of its log never goes back. The commitment to what was shown."""
        if entry['kind'] == 'voucher':
            need('@' not in entry['person'], 'a person of another plane')
            is_key(entry['key'])
        foreign = entry.get({'permit': 'par', 'approval': 'voucher'}.get(entry['kind']), {}).get('foreign')
        if entry['kind'] == 'approval' and 'person' in entry:
            need('@' not in entry['person'] if foreign is None else entry['person'].endswith(f'@{foreign["iss"]}') and 'grant_commit' not in entry, 'person and voucher disagree, or it is a grant')
        if foreign is None:
            return None
        if entry['kind'] == 'permit':
            need(foreign['iss'] != self.origin and 'delegates' not in entry, 'what descends from another plane names that one, and delegates nothing')
            key = foreign['iss'], entry['par']['jti']
            need(key not in self.spent, 'a permit of another plane was spent before')
            self.spent.add(key)
        else:
            is_key(entry['voucher']['key'])
            need(0 < len(set(entry['voucher']['groups'])) == len(entry['voucher']['groups']), 'not groups, each once')
        size, root = self.newest.get(foreign['iss'], (0, None))
        need(foreign['size'] > size or (foreign['size'], foreign['root']) == (size, root), 'what is known of the log of another plane goes back')
        self.newest[foreign['iss']] = foreign['size'], foreign['root']
        self.not_established.append(f'whether {foreign["iss"]} said what entry {entry["seq"]} was taken from')
        return foreign['commit']

def is_key(text):
    need(len(unbase64url(text)) == 32, 'not a key')
