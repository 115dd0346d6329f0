"""environment.md: what evidence a session has, and that its permits have no other."""
from formats import need

class Environments:
    def __init__(self):
        self.levels = {}  # by gate and commitment, the newest

    def session(self, gate):
        level = gate['env']['level']
        need((level in ('signed', 'hardware')) == ('attestation_commit' in gate), 'level and attestation disagree')
        self.levels[gate['gate'], gate['env']['commit']] = level
        return {'environment': gate['env']['commit'], 'attestation': gate.get('attestation_commit')}

    def permit(self, permit):
        level = permit['env']['level']
        need(self.levels.get((permit['aud'], permit['env']['commit']), level) == level, 'other evidence than its session has')
