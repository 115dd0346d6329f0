"""policy.md#budgets: no permit is one more than the policies that determine it allow in their time."""
from formats import need

class Budgets:
    def __init__(self):
        self.times = {}

    def permit(self, permit):
        budgets = permit['constraints'].get('budgets')
        if budgets is None:
            return
        names = [budget['policy'] for budget in budgets]
        need(names and len(set(names)) == len(names) and set(names) <= set(permit['policy']['determining']), 'a budget is of one of the policies that determine it, and each has one')
        beyond = None
        for budget in budgets:
            need(1 <= budget['count'] <= 10_000 and 1 <= budget['seconds'] <= 2_678_400, 'a budget out of range')
            who = {'agent': permit['act']['sub'], 'principal': permit['sub'], 'tenant': ''}[budget['per']]
            key = budget['policy'], budget['seconds'], budget['per'], who
            within = [time for time in self.times.get(key, []) if time > permit['time'] - budget['seconds'] * 1000]
            beyond = budget['policy'] if len(within) >= budget['count'] else beyond
            self.times[key] = within + [permit['time']]
        need(beyond is None, f'it is beyond the budget of {beyond}')
