"""entries.md: which definitions of tools were seen and pinned, and that since then nothing else was permitted."""
from formats import need

MAX_SEEN = 16

class Tools:
    def __init__(self):
        self.seen, self.pins, self.carried = {}, {}, {}  # by target and name: those that can be pinned, and the pinned one
        self.is_pinning, self.is_part, self.by_first_use = False, False, 0

    def apply(self, entry, is_whole, bodies):
        """`is_whole`: every entry before this one was seen; else a pin may stand in one that is not here."""
        if entry['kind'] == 'tool':
            self.tool(entry, is_whole)
        elif entry['kind'] == 'permit' and entry['scope']['type'] == 'mcp.tool_call' and '/' not in entry['aud']:
            self.permit(entry, is_whole, bodies)
        elif entry['kind'] == 'redemption' and entry['jti'] in self.carried:
            key, pinned = self.carried.pop(entry['jti'])
            need(not is_whole or not self.is_pinning or key in self.pins and pinned in (None, self.pins[key]), 'the tool is no longer pinned as it was')

    def tool(self, entry, is_whole):
        key, digest, event = (entry['target'], entry['name']), entry['digest'], entry.get('event')
        seen, pinned = self.seen.setdefault(key, set()), self.pins.get(key)
        self.is_pinning, self.is_part = self.is_pinning or event is not None, self.is_part or not is_whole
        holds = {None: digest in seen or len(seen) < MAX_SEEN, 'pinned': digest in seen and pinned == entry.get('previous') != digest, 'unpinned': digest == pinned}[event]
        if event is None:
            seen.add(digest)
        else:
            self.seen[key], self.pins[key] = {digest}, digest
        if event == 'unpinned':
            del self.pins[key]
        need(holds or not is_whole, 'not a definition that was seen, or not the one that was pinned')

    def permit(self, permit, is_whole, bodies):
        key = permit['scope']['target'], permit['scope']['name']
        if permit['use'] == 'redeem':
            self.carried[permit['jti']] = key, self.pins.get(key)
        self.is_part |= not is_whole
        if is_whole and 'observed' in permit and key not in self.pins:
            return  # that nobody pinned it is among what is only observed
        if is_whole and not self.is_pinning:
            self.by_first_use += 1
        elif is_whole:
            need(key in self.pins, 'nobody pinned the tool that is called')
            need(permit.get('observed') != 'tool_not_pinned', 'a pinned tool is observed as one that nobody pinned')
            actions = [body['body'] for body in bodies if body['purpose'] == 'action' and 'body' in body]
            need(all(isinstance(action, dict) and action.get('tool_digest') == self.pins[key] for action in actions[:1]), 'another definition of the tool is pinned')

    def not_shown(self):
        return (['pins of tools that stand outside of this bundle'] * self.is_part
                + [f'who looked at the tools of {self.by_first_use} calls, before anybody pinned one'] * (self.by_first_use > 0))
