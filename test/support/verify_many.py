"""Runs the second verifier over many bundles in one process: one JSON case a line in, one report a line out."""
import base64, json, os, sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..', 'spec', 'verifier'))
import libcrypto, notes, verify
from formats import Refused, unbase64url
from notes import log_key, read_policy

if (lib := libcrypto.load()) is not None:
    notes.subprocess = libcrypto.quicker(lib)

for line in sys.stdin:
    case = json.loads(line)
    source = case['folder'] if 'folder' in case else base64.b64decode(case['bytes'])
    try:
        policy = read_policy(base64.b64decode(case['policy'])) if 'policy' in case else None
    except Refused as refused:
        print(json.dumps({'verdict': 'usage', 'contradicted': [str(refused)]}))
        continue
    found = verify.report(source, log_key(*case['key'].split()), [unbase64url(key) for key in case['gate_keys']], case['checkpoints'], policy, case['now'])
    print(json.dumps(found))
