"""approval.md: who may approve, what they signed, and which permits rest on it."""
import re
from formats import Refused, canonical, is_action, need, references, unbase64url
from notes import read_account, thumbprint

class Approvals:
    def __init__(self, tenant, not_established):
        self.tenant, self.not_established = tenant, not_established
        self.persons, self.holds, self.given = {}, {}, {}  # by person, by hold id, by leaf hash

    def key(self, entry):
        """`added` replaces the groups and adds a key; `removed` ends a person, or one key. A key is one person's for ever."""
        if entry['purpose'] != 'approver':  # a person has no key
            if 'lost' in entry:
                self.holds, self.given = {}, {}
            return {}
        person = self.persons.setdefault(entry['person'], {'groups': [], 'keys': [], 'sub': None})
        others = [key for key in person['keys'] if key != entry.get('key')]
        person['keys'] = others + [entry['key']] if entry['event'] == 'added' else others if 'key' in entry else []
        person['sub'] = entry.get('sub', person['sub'])
        person['groups'] = entry['groups'] if entry['event'] == 'added' else person['groups'] if person['keys'] else []
        need(not any(set(other['keys']) & set(person['keys']) for other in self.persons.values() if other is not person), 'two approvers hold one key')
        return {'directory': entry.get('name_commit')}

    def hold(self, entry, leaf):
        if all(name in entry for name in ('approval', 'aud', 'sub', 'act', 'scope', 'action_commit')):
            need(entry['hold'] not in self.holds, 'two holds have one id')
            self.holds[entry['hold']] = {**entry, 'leaf': leaf, 'ended': None}

    def voucher(self, entry):
        """What this plane told another one of an approver was so at that place."""
        person, start = self.persons.get(entry['person']), entry['time'] // 1000
        if person is None:
            return self.not_established.append(f'the person of entry {entry["seq"]} is not in the bundle before it')
        need(entry['key'] in person['keys'] and [entry['groups'], entry.get('sub')] == [person['groups'], person['sub']], 'the person holds another key, or stands otherwise')
        return need(start < entry['exp'] <= start + 300, 'a voucher for more than 300 s')

    def known(self, person, voucher):
        """As the log says now; a person of another plane as that plane vouched for them."""
        return self.persons[person] if voucher is None else {'groups': voucher['groups'], 'keys': [voucher['key']], 'sub': voucher.get('sub')}

    def may(self, person, voucher, hold, *asking):
        """In a demanded group, and neither the one who asks nor the one who answers for it."""
        known = self.known(person, voucher)
        return known['keys'] and known['sub'] not in asking and person not in asking and set(known['groups']) & set(hold['approval']['groups'])

    def approval(self, entry, leaf, bodies):
        commits, hold = {'grant': entry.get('grant_commit'), 'reason': entry.get('reason_commit')}, self.holds.get(entry['hold'])
        if hold is None or entry['event'] != 'expired' and 'voucher' not in entry and entry['person'] not in self.persons:
            self.not_established.append(f'the hold or the approver of entry {entry["seq"]} is not in the bundle before it')
            return commits
        over = entry['time'] >= hold['approval']['expires'] * 1000
        if entry['event'] == 'expired':
            need(over and hold['ended'] is None, 'a hold expires after its time, and only while it waits')
            hold['ended'] = 'expired'
            return commits
        person, claims, key = entry['person'], None, None
        voucher = entry.get('voucher')
        need(voucher is None or entry['time'] < voucher['exp'] * 1000, 'nobody vouches for the approver any more')
        keys = [unbase64url(key) for key in self.known(person, voucher)['keys']]
        need(keys, 'this person holds no key')
        for key in keys:  # whichever of the person's keys the header names
            try:
                claims = read_account(entry['signature'], 'approval+jwt', thumbprint(key), key)
                break
            except Refused as refused:
                failure = refused
        if claims is None:
            raise failure
        said, grant = claims['decision'], claims.get('grant')
        need(grant is None or voucher is None and said == 'approved' and grant['uses'] > 0 and claims['iat'] < grant['until'] <= claims['iat'] + 2_592_000, 'not a grant')
        about = [entry['hold'], hold['seq'], hold['leaf'], hold['action_commit'], hold['aud'], hold['sub'], person, self.tenant]
        need([claims[name] for name in ('hold', 'index', 'leaf_hash', 'action_commit', 'aud', 'sub', 'person', 'tenant')] == about, 'the signature is about another hold')
        need([said, (grant or {}).get('arguments_commit'), claims.get('reason_commit')] == [entry['event'], entry.get('grant_commit'), entry.get('reason_commit')], 'signature and entry disagree')
        need(hold['ended'] in (None, 'used') and not (hold['ended'] is None and over), f'the hold is {hold["ended"] or "over"}')
        if said == 'rejected':
            need(set(self.persons[person]['groups']) & set(hold['approval']['groups']), 'in none of the groups')
            hold['ended'] = 'rejected'
        else:
            need(hold['ended'] is None, 'the hold was used already')
            need(self.may(person, voucher, hold, hold['sub']), 'in none of the groups, or the one who asks')
            self.given[leaf] = {'seq': entry['seq'], 'hold': hold, 'person': person, 'voucher': voucher, 'key': key, 'grant': grant, 'left': grant['uses'] if grant else 0,
                                'bounds': next((b.get('body') for b in bodies if b['purpose'] == 'grant' and b['commit'] == commits['grant']), None)}
        return commits

    def holds_key(self, one, time):
        """The person holds the key that signed; a person of another plane while vouched for, and nobody here holds it."""
        if one['voucher'] is None:
            return any(unbase64url(key) == one['key'] for key in self.persons[one['person']]['keys'])
        return time < one['voucher']['exp'] * 1000 and not any(one['voucher']['key'] in person['keys'] for person in self.persons.values())

    def permit(self, permit, bodies):
        """It rests on as many distinct persons as its hold demands, in their role now: on its own action once, or on uses of grants."""
        is_grant, refs = references(permit['approvals'])
        given = [self.given.get(leaf) for _, leaf in refs]
        if None in given:
            return self.not_established.append(f'approvals of permit {permit["jti"]} are not in the bundle')
        if not given:
            return None
        hold, waits = given[0]['hold'], given[0]['hold']['ended'] is None and permit['time'] >= given[0]['hold']['approval']['expires'] * 1000
        need(all(one['hold'] is hold and one['seq'] == seq for one, (seq, _) in zip(given, refs)), 'the approvals are of several holds, or stand elsewhere')
        same = ('sub', 'act', 'aud', 'scope', 'intent')
        need([permit.get(name) for name in same] == [hold.get(name) for name in same], 'somebody or something else, or for another purpose')
        need([place(permit), permit.get('delegates')] == [place(hold), hold.get('delegates')], 'below another permit, or it delegates something else')
        need(hold['ended'] not in ('rejected', 'expired') and not waits, 'the hold was rejected, or is over')
        count = [one for one in given if self.may(one['person'], one['voucher'], hold, permit['sub'], permit['owner']) and self.holds_key(one, permit['time'])]
        need(min(len({one[name] for one in count}) for name in ('person', 'key')) >= hold['approval']['quorum'], 'too few persons')
        if not is_grant:
            need(permit['action_commit'] == hold['action_commit'] and hold['ended'] is None, 'another action than was approved, or used before')
            hold['ended'] = 'used'
            return None
        for one in given:
            need(one['grant'] and one['left'] > 0 and permit['time'] < one['grant']['until'] * 1000, 'no use of the grant is left')
        action = next((body.get('body') for body in bodies if body['purpose'] == 'action'), None)
        for one in given:
            one['left'] -= 1
            if action is None or one['bounds'] is None:
                self.not_established.append(f'whether a grant covers the arguments of permit {permit["jti"]}: a body is not in the bundle')
            else:
                need(is_action(action), 'not an action')
                need(one['grant'].get('tool_digest') == action.get('tool_digest') and covers(one['bounds'], action), 'the grant does not cover these arguments')
        return None

def place(entry):
    return [entry['par'][name] for name in ('jti', 'leaf_hash')] if 'par' in entry else None

# Grants: each top-level argument is bounded, and nothing stands beside the arguments

def covers(bounds, action):
    arguments = action['arguments']
    need(isinstance(bounds, dict) and len(bounds) <= 64 and all(is_bound(bound) for bound in bounds.values()), 'not the bounds of a grant')
    return not action.keys() & {'input_responses', 'request_state', 'task'} and bounds.keys() == arguments.keys() and all(within(bounds[name], value) for name, value in arguments.items())

def is_bound(bound):
    if isinstance(bound, dict) and list(bound) == ['one_of']:
        return isinstance(bound['one_of'], list) and 0 < len(bound['one_of']) <= 256
    if isinstance(bound, dict) and list(bound) == ['prefix']:
        return isinstance(bound['prefix'], str) and len(bound['prefix'].encode('utf-16-le')) <= 8_192 and bound['prefix'].endswith('/') and not tricks(bound['prefix'])
    if isinstance(bound, dict) and list(bound) == ['range']:
        edges = bound['range']
        return isinstance(edges, dict) and edges.keys() == {'min', 'max'} and all(whole(edge) for edge in edges.values()) and edges['min'] <= edges['max']
    return isinstance(bound, dict) and list(bound) == ['equals']

def within(bound, value):
    (kind, limit), = bound.items()
    if kind == 'prefix':
        return isinstance(value, str) and value != limit and value.startswith(limit) and not tricks(value)
    if kind == 'range':
        return whole(value) and limit['min'] <= value <= limit['max']
    return canonical(value) in [canonical(one) for one in (limit if kind == 'one_of' else [limit])]

def whole(value):
    return type(value) in (int, float) and value == int(value) and abs(value) < 2 ** 53

def tricks(path):
    """Parts that some reader of paths resolves, decodes or ends at."""
    parts = re.sub(r'/\Z', '', re.sub(r'^[a-z][a-z0-9+.-]*://', '', path)).split('/')
    return re.search('[\\\\%\x00-\x1f\x7f-\x9f]', path) is not None or any(part in ('.', '..') or part == '' and i > 0 for i, part in enumerate(parts))
