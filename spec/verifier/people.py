"""people.md: who might do what, and whether whoever did something had the role for it."""
from formats import need

ROLES = ['viewer', 'approver', 'operator', 'admin']
NEEDED = {'revocation': 'operator', 'kill': 'operator', 'erasure': 'admin', 'agent': 'admin', 'policy': 'admin', 'key': 'admin', 'tool': 'admin', 'assessment': 'operator'}

class People:
    def __init__(self):
        self.known, self.is_part = {}, False  # by id: role (None once removed) and login

    def apply(self, entry, is_whole):
        """`is_whole`: every entry before this one was seen; else a role may have changed in one that is not here."""
        is_person, by = entry['kind'] == 'key' and entry['purpose'] == 'person', entry.get('by')
        if by in self.known and entry['kind'] in NEEDED:
            role = self.known[by][0]
            own = is_person and entry['event'] == 'credential' and by == entry['person']
            self.is_part |= role is not None and not is_whole
            if role is None or is_whole:
                need(role is not None and (own or ROLES.index(role) >= ROLES.index(NEEDED[entry['kind']])), 'whoever did it had not the role for it')
        if not is_person:
            return
        event, known = entry['event'], self.known.get(entry['person'])
        if event == 'added':
            need(known is None, 'a person is added once')
            self.known[entry['person']] = (entry['role'], entry['login'])
        elif known is None:
            need(not is_whole, 'no such person')
            self.is_part = True
        else:
            need(known[0] is not None and (event != 'credential' or known[1] == 'local'), 'no such person any longer, or one without a password here')
            self.known[entry['person']] = ({'role': entry.get('role'), 'removed': None}.get(event, known[0]), known[1])
