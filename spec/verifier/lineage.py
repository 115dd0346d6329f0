"""lineage.md: which permit descends from which, and that delegation only narrows."""
from approvals import covers, is_bound, within
from formats import FORMS, fits, is_action, need, own_selectors, selectors, units

LEVELS = ['none', 'software', 'signed', 'hardware']

class Lineages:
    def __init__(self, not_established, not_shown):
        self.not_established, self.not_shown = not_established, not_shown
        self.parents, self.above, self.missing, self.denied = {}, {}, set(), set()  # by jti: who delegates; ancestors of children

    def permit(self, permit, leaf, bodies, is_whole, life):
        """`life` gives the permit of an id, its ending and whether it was spent, as far as the bundle says."""
        need(permit['jti'] not in self.missing, 'a permit stands behind one that names it as its parent')
        try:
            if 'foreign' not in permit.get('par', {'foreign': None}):  # what descends from another plane has no ancestor here
                self.descends(permit, bodies, is_whole, life)
        finally:
            if 'delegates' in permit:
                commit = permit['delegates']['terms_commit']
                terms = next((b.get('body') for b in bodies if b['purpose'] == 'delegation' and b['commit'] == commit), None)
                self.parents[permit['jti']] = {'permit': permit, 'leaf': leaf, 'terms': terms, 'issued': 0}

    def descends(self, child, bodies, is_whole, life):
        named, ancestors = child['par']['jti'], ancestors_of(child['above'])
        self.above[child['jti']] = ancestors
        for jti in ancestors:
            if jti in self.parents:
                self.parents[jti]['issued'] += 1
        if named not in self.parents:
            need(named not in self.denied, 'it descends from what was denied')
            need(not is_whole, 'it names a parent that does not stand before it, delegates nothing, or is void')
            self.missing.add(named)
            return self.not_established.append(f'the parent of permit {child["jti"]} is not in the bundle')
        parent = self.parents[named]
        outer, own = parent['permit'], child.get('delegates')
        need(child['par']['leaf_hash'] == parent['leaf'] and outer['seq'] < child['seq'], 'another leaf than it names')
        need([child['txn'], child['depth'], child['sub']] == [outer['txn'], outer['depth'] + 1, outer['sub']], 'not one level below its parent, with its root and principal')
        inherited = selectors(outer) - own_selectors(child)
        need(child['above'] == sorted(inherited, key=lambda text: text.encode('utf-16-be')), 'what stops its ancestors would not stop it')
        need(own is None or is_bounded(own, outer['delegates']), 'it delegates more than its parent')
        end = min(outer['exp'] + outer['constraints']['max_runtime_seconds'], outer['delegates']['until'])
        need(child['time'] < end * 1000 and child['exp'] + child['constraints']['max_runtime_seconds'] <= end, 'it may outlive its parent')
        self.check_open(ancestors, child['time'], is_whole, life)
        need(not is_whole or all(jti in self.parents for jti in ancestors), 'an ancestor does not stand before it, or is void')
        need(all(self.parents[jti]['issued'] <= self.parents[jti]['permit']['delegates']['uses'] for jti in ancestors if jti in self.parents), 'more stand below an ancestor than it allows')
        action, terms = ([b.get('body') for b in bodies if b['purpose'] == purpose] for purpose in ('action', 'delegation'))
        if parent['terms'] is None or not action or action[0] is None or own is not None and (not terms or terms[0] is None):
            return self.not_shown.append(f'whether permit {child["jti"]} is within what its parent delegates: a body is not in the bundle')
        need(is_action(action[0]), 'not an action')
        asked = {'action': action[0], 'agent': child['act']['sub'][len('agent:'):], 'audience': child['aud'], 'environment': child['env']['level']}
        need(is_terms(parent['terms']) and is_delegated(asked, parent['terms']), 'something else was asked for than its parent delegates')
        need(own is None or is_terms(terms[0]) and is_within(terms[0], parent['terms']), 'it delegates more than its parent')

    def check_open(self, ancestors, time, is_whole, life):
        for jti in ancestors:
            permit, ending, spent = life(jti)
            need(ending is None, 'an ancestor had its ending')
            need(not is_whole or permit is None or permit['use'] != 'redeem' or spent or time < permit['exp'] * 1000, 'an ancestor was never spent')

    def redemption(self, redemption, is_whole, life):
        self.check_open(self.above.get(redemption['jti'], []), redemption['time'], is_whole, life)

    def deny(self, deny):
        self.denied.update([deny['jti']] if 'jti' in deny else [])

    def policy(self, policy):
        """An urgent set voids what was permitted under the ones before."""
        if 'urgent' in policy and policy.get('event', 'activated') != 'staged':
            self.parents = {jti: one for jti, one in self.parents.items() if one['permit']['policy']['epoch'] >= policy['epoch']}

def ancestors_of(above):
    return [selector[len('artifact:'):] for selector in above if selector.startswith('artifact:')]

# The language of delegations

def is_terms(terms):
    return fits(FORMS['delegation'], terms) and 0 < len(terms['scopes']) and all(is_names(terms.get(name)) for name in ('agents', 'audiences')) and all(
        'arguments' not in scope or len(scope['arguments']) <= 64 and all(is_bound(bound) for bound in scope['arguments'].values()) for scope in terms['scopes'])

def is_names(names):
    return names is None or 0 < len(set(names)) == len(names) and all(0 < units(name) <= 128 for name in names)

def is_delegated(asked, terms):
    """What is asked for is within one scope, by an agent and at a gate that are named, in an environment attested as well."""
    action = asked['action']
    return (any(names(scope, action) and ('arguments' not in scope or covers(scope['arguments'], action)) for scope in terms['scopes'])
            and asked['agent'] in terms.get('agents', [asked['agent']]) and asked['audience'] in terms.get('audiences', [asked['audience']])
            and LEVELS.index(asked['environment']) >= LEVELS.index(terms.get('environment', 'none')))

def names(outer, inner):
    return outer['type'] == inner['type'] and outer['target'] == inner['target'] and outer['name'] in ('*', inner['name'])

def is_bounded(inner, outer):
    return inner['until'] <= outer['until'] and inner['uses'] <= outer['uses'] and inner['depth'] < outer['depth']

def is_within(inner, outer):
    """Each scope is within one scope; a list that is absent is one of everybody."""
    lists = all(name not in outer or name in inner and set(inner[name]) <= set(outer[name]) for name in ('agents', 'audiences'))
    level = LEVELS.index(inner.get('environment', 'none')) >= LEVELS.index(outer.get('environment', 'none'))
    return lists and level and all(any(is_narrower(scope, other) for other in outer['scopes']) for scope in inner['scopes'])

def is_narrower(inner, outer):
    if not names(outer, inner) or 'arguments' not in outer:
        return names(outer, inner)
    mine, theirs = inner.get('arguments'), outer['arguments']
    return mine is not None and mine.keys() == theirs.keys() and all(is_tighter(mine[name], theirs[name]) for name in mine)

def is_tighter(inner, outer):
    (kind, limit), (other, theirs) = *inner.items(), *outer.items()
    if kind == 'equals':
        return within(outer, limit)
    if kind == 'one_of':
        return all(within(outer, one) for one in limit)
    if kind == 'prefix':
        return other == 'prefix' and limit.startswith(theirs)
    if other == 'range':
        return theirs['min'] <= limit['min'] and limit['max'] <= theirs['max']
    return limit['max'] - limit['min'] < 256 and all(within(outer, one) for one in range(limit['min'], limit['max'] + 1))
