"""policy.md#observation: what policy denies runs only where the log says that the plane observes, and is never called governed."""
from formats import need

class Observations:
    def __init__(self, not_established, not_shown):
        self.not_established, self.not_shown = not_established, not_shown
        self.is_on, self.observed = False, {}

    def policy(self, policy):
        self.is_on = {'observing': True, 'enforcing': False}.get(policy.get('event'), self.is_on)

    def permit(self, permit, is_whole):
        if 'observed' in permit:
            self.observed[permit['jti']] = permit['observed']
            self.during(permit['seq'], is_whole)

    def lease(self, lease, is_whole):
        if any(jti in self.observed for jti in lease['jtis']):
            self.during(lease['seq'], is_whole)

    def during(self, seq, is_whole):
        need(self.is_on or not is_whole, 'something is observed where the plane enforces')
        self.not_established += [f'that the plane observes at entry {seq} is not in the bundle'] * (not is_whole)

    def end(self):
        self.not_shown += [f'execution {jti} was observed, not governed: policy said {code}' for jti, code in self.observed.items()]
