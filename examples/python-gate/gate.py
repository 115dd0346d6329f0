"""A gate in Python, written from the pages of spec/ alone: an MCP server over standard input and output that governs one other MCP server.

    SEALWRIT_DIR=.sealwrit python3 gate.py [--name NAME] [--agent NAME] -- SERVER…
"""
import argparse, asyncio, collections, hashlib, os, platform, shutil, signal, socket, sys, time
from pathlib import Path
from seals import (CHECKS, CODES, Denied, Log, Refused, Seal, base64url, canonical, commitment, demand, digest, fits, fresh, judge, leaf_of, notes, parse,
                   presented, prohibited, public_of, read, shown, token_of)
import assurance

REVISION, VERSION = '2025-11-25', '0.1.0'
MAX_CLIENT, MAX_PLANE, MAX_SERVER = 1 << 20, 2 << 20, 16 << 20  # bytes of a line
MAX_CHALLENGES, MAX_DENIALS, MAX_SEEN = 4_096, 1_000, 100_000
PATIENCE = 2.0  # seconds for an answer of the plane
VARIABLES = ('PATH', 'HOME', 'LANG', 'TMPDIR', 'USER')
TOOL = '[A-Za-z0-9_.-]{1,128}'

# environment.md

class Environment:
    """What is measured of the server: its program, its script, the folder. Repository, lock and image are not looked for."""
    def __init__(self, command):
        program = shutil.which(command[0])
        if program is None:
            raise SystemExit(f'{command[0]}: no such program')
        self.program = os.path.realpath(program)
        words = [word for word in command[1:] if not word.startswith('-')][:1]  # what stands first behind the options of an interpreter
        self.script = next((os.path.realpath(word) for word in words if os.path.isfile(word)), None)
        self.args, self.salt, self.looked = command[1:], os.urandom(16), {}
        self.document = self.measured()
        self.commit = commitment('environment', self.salt, self.document)

    def file(self, path):
        at = os.stat(path)
        identity = (at.st_dev, at.st_ino, at.st_size, at.st_mtime_ns, at.st_ctime_ns)
        if self.looked.get(path, (None,))[0] != identity:
            hashed = hashlib.sha256()
            with open(path, 'rb') as file:
                while block := file.read(1 << 20):
                    hashed.update(block)
            self.looked[path] = identity, {'digest': f'sha256:{hashed.hexdigest()}', 'path': path}
        return self.looked[path][1]

    def measured(self):
        folder = os.stat('.')
        absent = {'git': 'not_told', 'image': 'not_told', 'lock': 'not_told'}
        told = {'arch': {'x86_64': 'x64', 'aarch64': 'arm64'}.get(platform.machine(), platform.machine()), 'args': self.args, 'cwd': os.getcwd(),
                'cwd_inode': f'{folder.st_dev}:{folder.st_ino}', 'executable': self.file(self.program), 'gate_version': VERSION,
                'host': digest(f'sealwrit/v1/host\n{socket.gethostname()}'.encode()), 'kernel': platform.release(), 'kind': 'mcp.server', 'os': sys.platform, 'uid': os.getuid()}
        try:
            told['cgroup'] = digest(Path('/proc/self/cgroup').read_bytes())
        except OSError:
            absent['cgroup'] = 'not_told'
        if self.script:
            told['script'] = self.file(self.script)
        else:
            absent['script'] = 'none'
        return {**told, 'absent': absent}

# What is asked for, and what became of it

class Run:
    def __init__(self, gate, action):
        self.gate, self.action, self.actor = gate, action, gate.actor()
        self.challenge, self.challenge_open, self.is_mine = fresh(), True, False
        self.checks = dict.fromkeys(CHECKS, 'missing')
        self.permit = self.leaf = self.salt = self.redeemed = self.started = self.began = self.answer = self.outcome = self.cause = None

class Gate:
    def __init__(self, folder, command, name, agent):
        self.folder, self.own, self.command, self.target, self.agent = Path(folder), Path(folder, 'python-gate'), command, f'mcp://{name}', agent
        self.own.mkdir(mode=0o700, exist_ok=True)
        key = self.own / 'key'
        if not key.exists():
            with open(os.open(key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), 'wb') as file:
                file.write(os.urandom(32))
        self.private = key.read_bytes()
        self.public = public_of(self.private)
        self.id, self.session = notes.thumbprint(self.public), fresh()
        self.vkey = (self.folder / 'log.vkey').read_text().strip()
        self.anchor = digest(f'{self.vkey.splitlines()[0]}\n'.encode())
        self.log, self.environment = Log(self.vkey, 'default'), Environment(command)
        self.epoch, self.latest, self.sub = 0, 0, None
        self.revoked, self.killed, self.running, self.denials = {}, {}, {}, collections.deque()  # the first two by selector, from which index on
        self.receipts = self.refusals = self.lost = 0
        self.plane = Plane(self)
        self.server, self.opening, self.starting, self.called = None, asyncio.Lock(), asyncio.Lock(), 'unknown'
        self.read_floor()

    def actor(self):
        return {'sub': f'agent:{self.agent or self.called}', 'verified': self.agent is not None}

    # gate.md: floor and time

    def read_floor(self):
        path = self.own / 'floor.json'
        if not path.exists():
            return
        try:
            floor = parse(path.read_bytes())
            if floor['origin'] != self.log.origin:
                raise ValueError('the floor is of another log')
            self.log.size, self.log.root, self.log.note = floor['size'], bytes.fromhex(floor['root']), floor['note']
            self.epoch, self.latest = floor['epoch'], floor['time']
        except (Refused, KeyError, TypeError, ValueError) as error:
            raise SystemExit(f'state_diverged: the floor cannot be read: {error}') from None

    def write_floor(self):
        if self.log.root is None:
            return
        new = self.own / 'floor.new'
        new.write_text(canonical({'origin': self.log.origin, 'size': self.log.size, 'root': self.log.root.hex(), 'note': self.log.note, 'epoch': self.epoch, 'time': self.latest}))
        new.replace(self.own / 'floor.json')

    def wall(self):
        """Milliseconds since 1970; None where the clock went back."""
        now = time.time_ns() // 1_000_000
        if now < self.latest - 30_000:
            return None
        self.latest = max(self.latest, now)
        return now

    # wire.md: the session

    async def open(self):
        """A session with the plane. @raises Denied"""
        async with self.opening:
            if not self.plane.is_open():
                await self.plane.connect()
            if time.monotonic() < self.plane.good_until:
                return
            given = await self.plane.ask('nonce', {})
            demand(fits({'nonce': '$token', 'origin': '$text'}, given), 'unavailable')
            demand(given['origin'] == self.log.origin, 'key_unknown')
            proof = token_of(self.private, 'gate-proof+jwt', {'aud': self.log.origin, 'nonce': given['nonce'], 'session': self.session})
            environment = {'commit': self.environment.commit, 'document': self.environment.document, 'level': 'software', 'salt': base64url(self.environment.salt)}
            known = {'checkpoint': self.log.note, 'floor': self.log.size} if self.log.size else {}
            await self.plane.ask('gates.enrol', {'anchor': self.anchor, 'environment': environment, 'key': base64url(self.public), 'proof': proof, 'session': self.session, **known}, self.enrolled)
            self.write_floor()
        await self.deliver()

    def enrolled(self, result):
        try:
            demand(fits({'sealed': '$any', 'consistency': '$any', 'sub': '$text', 'epoch': '$count', 'keys?': '$any'}, result), 'unavailable')
            seal = Seal(result['sealed'])
            self.log.follow(result.get('keys', []), seal.note)
            head = self.log.checkpoint(seal.note)
            self.log.extend(head, result['consistency'])
            entry = read(self.log, leaf_of(seal, head), 'gate')
            mine = (self.id, 'session', self.session, {'commit': self.environment.commit, 'level': 'software'})
            demand(tuple(entry.get(name) for name in ('gate', 'event', 'session', 'env')) == mine, 'identity_invalid')
            demand(result['epoch'] >= self.epoch, 'policy_rollback')
            self.epoch, self.sub, self.latest = result['epoch'], result['sub'], max(self.latest, entry['time'])
            lasts = entry['expires'] - entry['time'] / 1000 if 'expires' in entry else 900
            self.plane.good_until = time.monotonic() + 0.6 * lasts
        except Refused:
            raise Denied('state_diverged') from None

    def happened(self, params):
        """A sealed event: it stops what it meets, and then is acknowledged."""
        demand(fits({'sealed': '$any', 'consistency': '$any'}, params), 'unavailable')
        seal = Seal(params['sealed'])
        head = self.log.checkpoint(seal.note)
        self.log.extend(head, params['consistency'])
        entry = leaf_of(seal, head)
        if entry.get('kind') in ('revocation', 'kill', 'policy'):
            entry = read(self.log, entry, 'revocation', 'kill', 'policy')
        if entry.get('kind') == 'key':
            self.log.learn(entry)
        elif entry['kind'] == 'revocation':
            self.revoked[entry['selector']] = entry['seq']
        elif entry['kind'] == 'kill' and entry['event'] == 'killed':
            self.killed[entry['selector']] = entry['seq']
        elif entry['kind'] == 'kill' and entry['event'] == 'lifted':
            self.killed.pop(entry['selector'], None)
        elif entry['kind'] == 'policy' and entry.get('event', 'activated') in ('activated', 'rolled_back'):
            self.epoch = max(self.epoch, entry['epoch'])
        for run in list(self.running.values()):
            try:
                prohibited(self, run.permit)
            except Denied as denied:
                self.stop(run, denied.code)
        asyncio.ensure_future(self.quietly(self.plane.ask('events.ack', {'seq': entry['seq'], 'session': self.session})))

    async def quietly(self, doing):
        try:
            return await doing
        except Denied:
            return None

    # What may run

    async def call(self, action, carried=None):
        """The server's answer to what was permitted, and how it stands. @raises Denied"""
        run = Run(self, action)
        try:
            await self.open()
            demand(len(self.plane.waiting) < MAX_CHALLENGES, 'overloaded')
            ready = await self.started_server()
            run.actor = self.actor()
            done = asyncio.get_running_loop().create_future()
            def begins(result):
                """In the turn in which the answer arrives: what was shown is what runs."""
                if carried is None:
                    self.decided(result)
                    sealed = result.get('sealed')
                    judge(run, shown(run, sealed, result.get('consistency')))
                else:
                    demand(isinstance(result, dict) and result.keys() == {'redemption', 'artifact', 'consistency'}, 'unavailable')
                    run.redeemed = result['artifact']
                    judge(run, shown(run, result['redemption'], result['consistency'], carried[0]))
                self.begin(run, ready, done)
            if carried is None:
                agent = {'name': self.agent or self.called, 'verified': self.agent is not None}
                await self.plane.ask('authorize', {'action': action, 'agent': agent, 'challenge': run.challenge, 'environment': self.environment.commit,
                                                   'facts': {'paths': 'none'}, 'session': self.session}, begins)
            else:
                judge(run, presented(run, carried[0]))
                run.checks = dict.fromkeys(CHECKS, 'missing')
                await self.plane.ask('redeem', {'artifact': carried[0], 'challenge': run.challenge, 'session': self.session}, begins)
        except Denied as denied:
            run.challenge_open = False
            denied.seq = await self.refused(run, denied)
            raise
        answer = await done
        await self.account(run)
        return answer, run

    def decided(self, result):
        decision = result.get('decision') if isinstance(result, dict) else None
        if decision == 'deny':
            demand(fits({'decision': '$text', 'code': '$code', 'seq': '$count'}, result), 'unavailable')
            raise Denied(result['code'], seq=result['seq'])
        if decision == 'hold':
            demand(fits({'decision': '$text', 'hold': '$token', 'seq': '$count'}, result), 'unavailable')
            raise Denied('approval_required', seq=result['seq'], hold=result['hold'])
        demand(decision == 'permit' and result.keys() <= {'decision', 'sealed', 'consistency'}, 'unavailable')

    def begin(self, run, server, done):
        run.started, run.began, run.done = self.wall(), time.monotonic(), done
        limits = run.permit['constraints']
        run.most, run.lease = run.began + limits['max_runtime_seconds'], run.began + limits['lease_seconds']
        self.running[run.permit['jti']] = run
        demand(server is self.server and server.is_alive(), 'unavailable')
        server.request('tools/call', {'name': run.action['name'], 'arguments': run.action['arguments']}, lambda message: self.ended(run, message))

    def ended(self, run, message):
        if run.outcome is not None:
            return
        if message is None:
            run.outcome, run.cause, run.answer = 'indeterminate', 'upstream_closed', {'error': {'code': -32603, 'message': 'the server ended'}}
        else:
            is_error = 'error' in message or message['result'].get('isError') is True
            run.outcome, run.cause, run.answer = ('failed', 'tool_error', message) if is_error else ('completed', None, message)
        self.over(run)

    def stop(self, run, code):
        if run.outcome is not None:
            return
        run.outcome, run.cause, run.answer = 'terminated', code, None
        self.over(run)
        self.server.end()  # what it does for others ends with it: nothing less is sure to stop it

    def over(self, run):
        self.running.pop(run.permit['jti'], None)
        if not run.done.done():
            run.done.set_result(run.answer)

    # receipt.md, denial.md: accounts

    async def account(self, run):
        """The receipt is durable before the asker gets the result. @raises Denied"""
        try:
            run.record = await self.reported('receipts', self.receipt(run, run.outcome, run.cause))
        except Denied:
            raise Denied('evidence_unavailable', seq=False) from None

    def receipt(self, run, outcome, cause):
        """What is said of a permit; with it, for the plane alone, what is behind the commitment to the result."""
        result = run.answer.get('result', run.answer.get('error')) if run.answer else None
        text, salt = canonical(result) if run.answer else '', os.urandom(16)
        claims = {'anchor': self.anchor, 'assurance': assurance.level(run.checks, run.permit, run.permit['env']['level'], [], False, False, outcome != 'not_started'),
                  'checks': run.checks, 'containment': [], 'finished': self.wall() or self.latest, 'gate': self.id, 'jti': run.permit['jti'], 'leaf_hash': run.leaf, 'outcome': outcome,
                  'resources': {'result_bytes': len(text.encode()), 'wall_ms': round((time.monotonic() - run.began) * 1000) if run.began else 0},
                  'sequence': self.receipts, 'session': self.session, 'tenant': self.log.tenant}
        if outcome != 'not_started':
            claims['started'] = run.started
        if cause:
            claims['cause'] = cause
        behind = {}
        if run.answer:
            claims['result_commit'] = commitment('result', salt, result)
            behind['result'] = {'digest': digest(text.encode()), 'salt': base64url(salt)}
        self.receipts += 1
        return {'receipt': token_of(self.private, 'execution-receipt+jwt', claims), 'session': self.session, **behind}

    async def reported(self, method, params):
        for attempt in range(2):
            try:
                await self.open()
                result = await self.plane.ask(method, params)
                return result.get('seq') if isinstance(result, dict) else None
            except Denied as denied:
                if attempt or denied.code != 'unavailable':
                    raise

    async def refused(self, run, denied):
        """The account of a refusal by this gate; answers where it stands, or None."""
        if denied.seq is not None:  # the plane refused it, and has it in its log
            return denied.seq
        if run is not None and run.is_mine:
            self.running.pop(run.permit['jti'], None)
            return await self.quietly(self.reported('receipts', self.receipt(run, 'not_started', denied.code)))
        claims = {'code': denied.code, 'gate': self.id, 'sequence': self.refusals, 'session': self.session, 'tenant': self.log.tenant, 'time': self.wall() or self.latest}
        if run is not None:
            claims.update(challenge=run.challenge, checks=run.checks, scope={name: run.action[name] for name in ('type', 'name', 'target')})
        self.refusals += 1
        if len(self.denials) < MAX_DENIALS:
            self.denials.append(token_of(self.private, 'execution-denial+jwt', claims))
        else:
            self.lost += 1
        return await self.quietly(self.deliver()) if self.plane.is_open() else None

    async def deliver(self):
        seq = None
        while self.denials and self.plane.good_until:
            token = self.denials.popleft()
            try:
                lost, self.lost = ({'lost': self.lost} if self.lost else {}), 0
                result = await self.plane.ask('denials', {'denial': token, 'session': self.session, **lost})
                seq = result.get('seq') if isinstance(result, dict) else None
            except Denied as denied:
                if denied.code == 'unavailable':
                    self.denials.appendleft(token)
                    return None
        return seq

    # gate.md: leases

    async def watch(self):
        """Renews what runs, and stops what is over."""
        asked, floor = 0.0, 0.0
        while True:
            await asyncio.sleep(0.05)
            now = time.monotonic()
            if now > floor + 1 and self.plane.is_open() and self.plane.good_until:
                floor = now
                self.write_floor()
            for run in list(self.running.values()):
                if now >= min(run.lease, run.most):
                    self.stop(run, 'lease_expired')
            if self.running:
                third = min(run.permit['constraints']['lease_seconds'] for run in self.running.values()) / 3
                since = max(asked, min(run.began for run in self.running.values()))
                if now >= since + third:
                    asked = now
                    asyncio.ensure_future(self.quietly(self.renew()))

    async def renew(self):
        asked, nonce, runs = time.monotonic(), fresh(), dict(self.running)
        await self.open()
        def renewed(result):
            demand(fits({'sealed': '$any', 'consistency': '$any'}, result), 'unavailable')
            seal = Seal(result['sealed'])
            head = self.log.checkpoint(seal.note)
            self.log.extend(head, result['consistency'])
            entry = read(self.log, leaf_of(seal, head), 'lease')
            demand((entry['gate'], entry['session'], entry['nonce']) == (self.id, self.session, nonce), 'challenge_mismatch')
            for jti, run in runs.items():
                if jti not in entry['jtis']:
                    self.stop(run, 'lease_expired')
                else:
                    run.lease = asked + run.permit['constraints']['lease_seconds']
        await self.plane.ask('leases.renew', {'jtis': list(runs), 'nonce': nonce, 'session': self.session}, renewed)

    # mcp.md: the server and its tools

    async def started_server(self):
        async with self.starting:
            if self.server is None or not self.server.is_alive():
                self.server = Server(self)
                await self.server.start()
            return self.server

    async def pinned(self):
        """The tools whose very definition is pinned."""
        await self.open()
        server = await self.started_server()
        tools = [{'name': name, 'digest': digest(canonical(tool).encode()), 'definition': canonical(tool)} for name, tool in server.tools.items()]
        told = await self.plane.ask('tools.record', {'session': self.session, 'target': self.target, 'tools': tools})
        told = told.get('tools') if isinstance(told, dict) else told
        pins = {one.get('name'): one.get('pinned') for one in told if isinstance(one, dict)} if isinstance(told, list) else {}
        return [server.tools[tool['name']] for tool in tools if pins.get(tool['name']) == tool['digest']]

    async def permissible(self, tools):
        scopes = [{'type': 'mcp.tool_call', 'name': tool['name']} for tool in tools]
        agent = {'name': self.agent or self.called, 'verified': self.agent is not None}
        told = await self.plane.ask('tools.permissible', {'agent': agent, 'scopes': scopes, 'session': self.session, 'target': self.target})
        told = told.get('permissible') if isinstance(told, dict) else None
        return [tool for tool, may in zip(tools, told) if may is True] if isinstance(told, list) and len(told) == len(tools) else []

LOCAL = {'request_malformed', 'method_unknown', 'limit_exceeded', 'arguments_not_canonical', 'encoding_invalid', 'tool_not_pinned'}

# Lines

async def lines(reader, most):
    """Each line; a longer one ends them."""
    try:
        while line := await reader.readuntil(b'\n'):
            yield line[:-1]
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
        return

class Plane:
    """One connection; answers and events are judged in the order in which they come."""
    def __init__(self, gate):
        self.gate, self.writer, self.id, self.waiting, self.good_until = gate, None, 0, {}, 0.0

    def is_open(self):
        return self.writer is not None

    async def connect(self):
        try:
            reader, self.writer = await asyncio.wait_for(asyncio.open_unix_connection(self.gate.folder / 'plane.sock', limit=MAX_PLANE), PATIENCE)
        except (OSError, TimeoutError, asyncio.TimeoutError):
            raise Denied('unavailable') from None
        self.good_until = 0.0
        asyncio.ensure_future(self.listen(reader, self.writer))

    def close(self, writer=None, code='unavailable'):
        if self.writer is None or writer not in (None, self.writer):
            return
        self.writer.close()
        self.writer, self.good_until = None, 0.0
        for future, _ in self.waiting.values():
            if not future.done():
                future.set_exception(Denied(code))
        self.waiting.clear()

    async def listen(self, reader, writer):
        async for line in lines(reader, MAX_PLANE):
            if self.writer is not writer:
                return
            try:
                self.heard(parse(line))
            except (Denied, Refused, RecursionError):
                break
        self.close(writer)

    def heard(self, message):
        if isinstance(message, dict) and message.keys() == {'jsonrpc', 'method', 'params'} and message['method'] == 'event':
            return self.gate.happened(message['params'])
        demand(isinstance(message, dict) and message.get('jsonrpc') == '2.0' and type(message.get('id')) is int, 'unavailable')
        future, judged = self.waiting.pop(message['id'], (None, None))
        if future is None or future.done():
            return
        try:
            demand(message.keys() in ({'id', 'jsonrpc', 'result'}, {'id', 'jsonrpc', 'error'}), 'unavailable')
            if 'error' in message:
                data = message['error'].get('data') if isinstance(message['error'], dict) else None
                code = data.get('code') if isinstance(data, dict) else None
                raise Denied(code if code in CODES else 'unavailable', seq=data.get('record') if isinstance(data, dict) else None)
            future.set_result(judged(message['result']) if judged else message['result'])
        except Denied as denied:
            future.set_exception(denied)
            if 'result' in message and denied.seq is None:
                raise  # what it says next would rest on what was not believed

    async def ask(self, method, params, judged=None):
        """The answer to a question, judged in the turn in which it comes. @raises Denied"""
        demand(self.writer is not None, 'unavailable')
        self.id += 1
        future = asyncio.get_running_loop().create_future()
        self.waiting[self.id], writer = (future, judged), self.writer
        writer.write(canonical({'id': self.id, 'jsonrpc': '2.0', 'method': method, 'params': params}).encode() + b'\n')
        try:
            return await asyncio.wait_for(future, PATIENCE)
        except (TimeoutError, asyncio.TimeoutError):
            self.close(writer)  # the checkpoint of a late answer would be missing to the next one
            raise Denied('unavailable') from None

class Server:
    """The governed server: a process, its answers by the gate's own ids."""
    def __init__(self, gate):
        self.gate, self.process, self.id, self.waiting, self.tools = gate, None, 0, {}, {}

    def is_alive(self):
        return self.process is not None and self.process.returncode is None and not self.process.stdin.is_closing()

    async def start(self):
        variables = {name: os.environ[name] for name in VARIABLES if name in os.environ}
        environment = self.gate.environment
        demand(environment.measured() == environment.document, 'executable_mismatch')
        self.process = await asyncio.create_subprocess_exec(environment.program, *environment.args, stdin=-1, stdout=-1, limit=MAX_SERVER, env=variables, start_new_session=True)
        asyncio.ensure_future(self.listen())
        await self.asked('initialize', {'capabilities': {}, 'clientInfo': {'name': 'python-gate', 'version': VERSION}, 'protocolVersion': REVISION})
        self.write({'jsonrpc': '2.0', 'method': 'notifications/initialized'})
        await self.list()

    async def list(self):
        found, cursor, doubled = {}, None, set()
        for _ in range(64):
            result = (await self.asked('tools/list', {} if cursor is None else {'cursor': cursor})).get('result') or {}
            for tool in result.get('tools', []):
                if fits({'name': TOOL}, {'name': tool.get('name')}) and len(canonical(tool)) <= 65_536:
                    doubled |= {tool['name']} if tool['name'] in found and found[tool['name']] != tool else set()
                    found[tool['name']] = tool
            cursor = result.get('nextCursor')
            if cursor is None:
                break
        self.tools = {name: tool for name, tool in found.items() if name not in doubled}

    async def asked(self, method, params):
        future = asyncio.get_running_loop().create_future()
        self.request(method, params, lambda message: future.done() or future.set_result(message))
        try:
            message = await asyncio.wait_for(future, 10)
        except (TimeoutError, asyncio.TimeoutError):
            message = None
        demand(message is not None, 'unavailable')
        return message

    def request(self, method, params, ended):
        self.id += 1
        self.waiting[self.id] = ended
        self.write({'id': self.id, 'jsonrpc': '2.0', 'method': method, 'params': params})

    def write(self, message):
        self.process.stdin.write(canonical(message).encode() + b'\n')

    async def listen(self):
        async for line in lines(self.process.stdout, MAX_SERVER):
            try:
                message = parse(line)
            except Refused:
                continue
            if not isinstance(message, dict):
                continue
            if 'method' in message and 'id' in message:  # what a server asks for is refused: there is no client for it here
                self.write({'error': {'code': -32601, 'message': 'refused'}, 'id': message['id'], 'jsonrpc': '2.0'} if message['method'] != 'ping' else {'id': message['id'], 'jsonrpc': '2.0', 'result': {}})
            elif message.get('method') == 'notifications/tools/list_changed':
                asyncio.ensure_future(self.gate.quietly(self.list()))
            elif type(message.get('id')) is int and message['id'] in self.waiting and ('error' in message) != isinstance(message.get('result'), dict):
                self.waiting.pop(message['id'])(message)
        self.end()

    def end(self):
        if self.process.returncode is None:
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.stdin.close()
        waiting, self.waiting = self.waiting, {}
        for ended in waiting.values():
            ended(None)

# mcp.md: the client

ANNOTATIONS = {'$schema', 'title', 'description', 'default', 'examples', '$comment', 'format', 'type', 'properties', 'required', 'additionalProperties', 'items', 'enum', 'const', 'minimum', 'maximum', 'minLength', 'maxLength'}
TYPES = {'object': dict, 'array': list, 'string': str, 'boolean': bool, 'null': type(None), 'number': (int, float), 'integer': int}

def check(schema, value, where='arguments'):
    """A part of JSON Schema; a tool that uses more of it cannot be called here."""
    if schema is True:
        return
    demand(isinstance(schema, dict) and schema.keys() <= ANNOTATIONS and isinstance(schema.get('additionalProperties', True), (bool, dict)), 'limit_exceeded')
    kinds = schema.get('type', list(TYPES))
    is_kind = any(isinstance(value, TYPES[kind]) and (kind == 'boolean' or not isinstance(value, bool)) for kind in ([kinds] if isinstance(kinds, str) else kinds))
    size = len(value) if isinstance(value, str) else 0
    amount = value if isinstance(value, (int, float)) and not isinstance(value, bool) else None
    demand(is_kind and value in schema.get('enum', [value]) and value == schema.get('const', value) and schema.get('minLength', 0) <= size <= schema.get('maxLength', size)
           and (amount is None or schema.get('minimum', amount) <= amount <= schema.get('maximum', amount)), 'request_malformed')
    if isinstance(value, dict):
        demand(all(name in value for name in schema.get('required', [])), 'request_malformed')
        for name, inner in value.items():
            below = schema.get('properties', {}).get(name, schema.get('additionalProperties', True))
            demand(below is not False, 'request_malformed')
            check(below, inner, f'{where}.{name}')
    if isinstance(value, list) and 'items' in schema:
        for inner in value:
            check(schema['items'], inner, where)

class Client:
    def __init__(self, gate):
        self.gate, self.seen, self.calls = gate, set(), {}

    def say(self, message):
        sys.stdout.buffer.write(canonical({'jsonrpc': '2.0', **message}).encode() + b'\n')
        sys.stdout.buffer.flush()

    async def serve(self):
        reader = asyncio.StreamReader(limit=MAX_CLIENT)
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        async for line in lines(reader, MAX_CLIENT):
            asyncio.ensure_future(self.answer(line))

    async def answer(self, line):
        id, method, gate = None, None, self.gate
        try:
            try:
                message = parse(line)
                demand(isinstance(message, dict) and message.get('jsonrpc') == '2.0' and message.keys() <= {'jsonrpc', 'id', 'method', 'params'}
                       and isinstance(message.get('method'), str) and isinstance(message.get('params', {}), dict), 'request_malformed')
                if 'id' not in message:
                    return
                demand(type(message['id']) in (int, str) and message['id'] not in self.seen and len(self.seen) < MAX_SEEN, 'request_malformed')
            except Refused:
                raise Denied('request_malformed') from None
            id, method, params = message['id'], message['method'], message.get('params', {})
            self.seen.add(id)
            self.say({'id': id, 'result': await self.asked(method, params)})
        except Denied as denied:
            if denied.run is None and denied.seq is None and denied.code in LOCAL:
                denied.seq = await gate.refused(None, denied)
            check, number, meaning = CODES[denied.code]
            told = {'code': denied.code, 'hint': f'see spec/denial.md: {check}', **({'record': denied.seq} if type(denied.seq) is int else {}), **({'hold': denied.hold} if denied.hold else {})}
            if method == 'tools/call' and id is not None:
                self.say({'id': id, 'result': {'_meta': {'sealwrit/denial': told}, 'content': [{'type': 'text', 'text': f'Denied ({denied.code}): {meaning.strip()}.'}], 'isError': True}})
            else:
                self.say({'error': {'code': number, 'data': told, 'message': meaning.strip()}, 'id': id})

    async def asked(self, method, params):
        gate = self.gate
        if method == 'initialize':
            demand(isinstance(params.get('clientInfo'), dict), 'request_malformed')
            name = params['clientInfo'].get('name')
            gate.called = name if fits('$agent', name) else 'unknown'
            return {'capabilities': {'tools': {}}, 'protocolVersion': REVISION, 'serverInfo': {'name': 'python-gate', 'version': VERSION}}
        if method == 'ping':
            return {}
        if method == 'tools/list':
            return {'tools': await gate.permissible(await gate.pinned())}
        demand(method == 'tools/call', 'method_unknown')
        demand(params.keys() <= {'name', 'arguments', '_meta'} and isinstance(params.get('name'), str) and isinstance(params.get('arguments', {}), dict) and isinstance(params.get('_meta', {}), dict), 'request_malformed')
        meta, tool = params.get('_meta', {}), (await gate.started_server()).tools.get(params['name'])
        demand(tool is not None, 'tool_not_pinned')
        arguments = params.get('arguments', {})
        check(tool.get('inputSchema', {}), arguments)
        action = {'arguments': arguments, 'name': params['name'], 'target': gate.target, 'tool_digest': digest(canonical(tool).encode()), 'type': 'mcp.tool_call'}
        answer, run = await gate.call(action, [meta['sealwrit/artifact']] if 'sealwrit/artifact' in meta else None)
        if answer is None or 'error' in answer:
            raise Denied(run.cause if run.cause in CODES else 'unavailable', seq=run.record)
        return answer['result']

async def main():
    parser = argparse.ArgumentParser(description='governs an MCP server')
    parser.add_argument('--name', default='server')
    parser.add_argument('--agent')
    parser.add_argument('command', nargs=argparse.REMAINDER)
    options = parser.parse_args()
    command = options.command[1:] if options.command[:1] == ['--'] else options.command
    gate = Gate(os.environ.get('SEALWRIT_DIR', '.sealwrit'), command, options.name, options.agent)
    watching = asyncio.ensure_future(gate.watch())
    await Client(gate).serve()
    watching.cancel()
    if gate.server and gate.server.process:
        gate.server.end()
        await gate.server.process.wait()
    gate.write_floor()

if __name__ == '__main__':
    asyncio.run(main())
