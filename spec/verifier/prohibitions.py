"""entries.md: nothing follows what forbids it."""
from formats import need, selectors

class Prohibitions:
    def __init__(self):
        self.revoked, self.killed = set(), set()

    def forbids(self, permit):
        return bool(selectors(permit) & (self.revoked | self.killed))

    def permit(self, permit):
        need(not self.forbids(permit), 'it follows what forbids it')

    def revocation(self, revocation):
        self.revoked.add(revocation['selector'])

    def kill(self, kill):
        if kill['event'] != 'lift_asked':
            (self.killed.add if kill['event'] == 'killed' else self.killed.discard)(kill['selector'])

    def lease(self, lease, life):
        """Nothing is renewed after what forbids it, or by another gate."""
        for jti in lease['jtis']:
            permit, ending, _ = life(jti)
            if permit is not None and (ending or (0, ''))[1] != 'receipt':
                need(permit['aud'] == lease['gate'] and not self.forbids(permit), f'{jti} may not go on')
