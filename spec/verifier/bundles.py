"""Reads evidence: a bundle, a line at a time, and the folder of a mirror."""
import os, re
from formats import FORMS, fits, need, parse

# bundle.md

def read_bundle(data):
    lines = data.split(b'\n')
    need(lines.pop() == b'' and lines and all(len(line) <= 64 << 20 for line in lines), 'not lines, or a line of more than 64 MiB')
    head, *lines = lines
    need(head.endswith(b','), 'the head is not followed by a comma')
    bundle = parse(head[:-1] + b'}')
    need(fits(FORMS['head'], bundle), 'not the head of a bundle')
    for name in 'checkpoints', 'anchors', 'policies', 'entries':
        end = b']}' if name == 'entries' else b'],'
        need(lines[:1] == [f'"{name}":['.encode()] and end in lines, f'`{name}` does not open and close on lines of its own')
        items, lines = lines[1:lines.index(end)], lines[lines.index(end) + 1:]
        need(all(item.endswith(b',') for item in items[:-1]), 'a comma is missing')
        bundle[name] = [parse(item[:-1]) for item in items[:-1]] + [parse(item) for item in items[-1:]]
        for item in bundle[name]:
            form = f'anchors {item.get("type")}' if name == 'anchors' and isinstance(item, dict) else name
            need(form in FORMS and fits(FORMS[form], item), f'not an item of `{name}`')
    need(not lines, 'something follows')
    return bundle

def read_mirror(folder):
    """A mirror as a bundle whose entries have no proofs: that their root is the signed one is the proof."""
    def read(name):
        with open(os.path.join(folder, *name.split('/')), 'rb') as file:
            return file.read()
    note = read('checkpoint').decode()
    origin, size, entries = note.split('\n')[0], int(note.split('\n')[1]), []
    for n in range((size + 255) // 256):
        path = re.sub('([0-9]{3})(?=[0-9])', r'x\1/', f'{n:0{len(f"{n:03d}") + -len(f"{n:03d}") % 3}d}')
        width = min(256, size - 256 * n)
        data = read(f'tile/entries/{path}' + (f'.p/{width}' if width < 256 else ''))
        for _ in range(width):
            end = 2 + int.from_bytes(data[:2], 'big')
            need(len(data) >= end, 'a tile of entries is cut')
            entries.append({'entry': data[2:end].decode(), 'bodies': []})
            data = data[end:]
        need(not data, 'something follows the entries of a tile')
    return dict(origin=origin, tenant=origin.rpartition('/')[2], checkpoint=note, checkpoints=[], anchors=[], policies=[], entries=entries)
