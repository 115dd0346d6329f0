"""receipt.md, assurance: the level of an execution, and that no receipt states more than was reached."""
from formats import need

def initiator(permit):
    """What names the principal: a key, an issuer, the operating system, or nothing."""
    if 'cnf' in permit:
        return 'key'
    form, is_named, _ = permit['sub'].partition(':')
    if is_named and form in ('oidc', 'spiffe'):
        return 'issuer'
    return None if is_named and form == 'plane' or not permit['sub'] else 'os'

def level(checks, permit, environment, containment, witnessed, replayed, ran=True):
    passed = [name for name, status in checks.items() if status == 'pass']
    obligations, by = permit['constraints']['obligations'], initiator(permit)
    contained = bool(obligations) and set(obligations) <= set(containment)
    rungs = [
        len(passed) > 0,
        'cryptography' in passed and not ('observed' in permit and ran),
        len(passed) == 8 and by is not None and environment != 'none',
        by in ('key', 'issuer') and (environment in ('signed', 'hardware') or contained) and witnessed,
        environment == 'hardware' and replayed,
    ]
    return f'A{(rungs + [False]).index(False)}'

class Assurance:
    """Decisions are not replayed here, so what rests on that is not established."""
    def __init__(self, levels, not_established):
        self.levels, self.not_established, self.witnessed = levels, not_established, False  # the levels of sessions

    def receipt(self, claims, permit):
        stated, own = claims['assurance'], permit['env']['level']
        need(stated <= level(claims['checks'], permit, own, claims['containment'], True, True, 'started' in claims), 'the receipt states more assurance than its permit and checks support')
        need('started' not in claims or stated >= permit['assurance'], 'it began below the assurance that its permit demands')
        is_shown = (permit['aud'], permit['env']['commit']) in self.levels or own == 'none'
        if stated > level(claims['checks'], permit, own if is_shown else 'software', claims['containment'], self.witnessed, False, 'started' in claims):
            self.not_established.append(f'the assurance {stated} that the receipt of {permit["jti"]} states')
