"""lifecycle.md: where each execution stands, and what may follow. A `need` that fails contradicts."""
from formats import need

ENDINGS = ('completed', 'failed', 'terminated', 'not_started', 'indeterminate')
# `lost`: what the plane itself called indeterminate; only a late receipt replaces it.
LEGAL = {'carried': ('admitted', 'expired'), 'issued': ENDINGS + ('lost',), 'admitted': ENDINGS + ('lost',), 'lost': ENDINGS}

class LifeCycles:
    def __init__(self, not_established):
        self.standing, self.endings, self.redeemed, self.not_established = {}, {}, set(), not_established  # also of what was denied

    def step(self, jti, to, why):
        need(to in LEGAL.get(self.standing[jti], ()), why)
        self.standing[jti] = to

    def deny(self, deny):
        """No other decision has its id."""
        if 'jti' in deny:
            need(deny['jti'] not in self.standing, 'a denial has the id of another decision')
            self.standing[deny['jti']] = 'denied'

    def permit(self, permit):
        need(permit['jti'] not in self.standing, 'the permit has the id of another decision')
        self.standing[permit['jti']] = 'carried' if permit['use'] == 'redeem' else 'issued'

    def redemption(self, jti):
        """Once, and before any ending."""
        self.step(jti, 'admitted', 'the permit could not be spent, or not again')
        self.redeemed.add(jti)

    def admitted(self, entry, prefix):
        """What may have run of a carried permit follows its redemption; where the bundle does not hold every entry before, that may stand outside."""
        if self.standing[entry['jti']] == 'carried':
            need(prefix <= entry['seq'], 'the ending of a carried permit that nobody redeemed')
            self.not_established.append(f'the redemption before entry {entry["seq"]} is not in the bundle')
            self.standing[entry['jti']] = 'admitted'

    def expiry(self, expiry, prefix):
        """`expired` is only for a permit with `use: redeem` that was never spent."""
        jti, lost = expiry['jti'], expiry['outcome'] == 'indeterminate'
        need(jti not in self.endings, 'the permit has more than one effective ending')
        if lost:
            self.admitted(expiry, prefix)
        self.step(jti, 'lost' if lost else 'expired', 'it cannot have ended so')
        self.endings[jti] = expiry['seq'], expiry['outcome']

    def receipt(self, receipt, claims, prefix):
        """Every permit has exactly one effective ending; `resolves` replaces only the plane's `indeterminate` at that index."""
        jti, resolves, seq = receipt['jti'], receipt.get('resolves'), receipt['seq']
        ran = claims['outcome'] != 'not_started' and claims['assurance'] not in ('A0', 'A1')
        need(not ran or set(claims['checks'].values()) == {'pass'}, 'it ran though it was not admitted')
        self.admitted(receipt, prefix)
        if resolves is not None and jti not in self.endings and resolves >= prefix:
            self.not_established.append(f'what entry {seq} resolves is not in the bundle')
        else:
            standing = self.endings.get(jti)
            need(standing == (None if resolves is None else (resolves, 'indeterminate')) and (standing is None or self.standing[jti] == 'lost'), 'the permit has more than one effective ending')
        self.step(jti, claims['outcome'], 'the permit has more than one effective ending')
        self.endings[jti] = seq, 'receipt'
