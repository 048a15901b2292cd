#!/usr/bin/env python3
"""Checks an exported bundle offline: a second implementation of ../audit-format.md.

    verify.py TRUST BUNDLE [KEPT ...]

TRUST is the trust file, BUNDLE a directory, KEPT checkpoints or receipts from elsewhere. Each finding is a line that begins
with its code. Exit status: 0 all holds, 1 findings, 2 it could not be checked. It shares nothing with `sluice verify` but
the document, and needs nothing but Python's standard library. It is slow: some 200 notes a second.
"""
import base64, hashlib, json, os, re, sys
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

MAX_NOTE, MAX_FILE = 2048, 16 << 20
MAX_HEADER, MAX_BODY, MAX_PAYLOAD, MAX_RECORDS = 96 << 10, 240 << 10, 448 << 10, 8192
SILENCE, ZERO = 90_000, bytes(32)  # ms; no hash
PARTS = {"agent": ["agent.started", "agent.policy"], "alert": ["agent.alert"], "order": ["agent.order"], "person": ["person.acted"],
         "opened": ["session.opened"], "closed": ["session.closed"], "intent": ["operation.intent"], "chunk": ["operation.chunk"],
         "outcome": ["operation.outcome"], "approval": ["approval.requested", "approval.voted", "approval.settled"]}

class Bad(ValueError):
    """What was read is not what the format says."""

def sha(*parts):
    return hashlib.sha256(b"".join(parts)).digest()

# Ed25519, RFC 8032 §5.1. Points are (X, Y, Z, T) with x = X/Z, y = Y/Z, xy = T/Z.
P, L = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P

def add(p, q):
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P

def decode_point(y, sign):
    x2 = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(x2, (P + 3) // 8, P)
    if (x * x - x2) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if y >= P or (x * x - x2) % P or (x == 0 and sign):
        raise Bad("not a point")
    x = P - x if x & 1 != sign else x
    return x, y, 1, x * y % P

BASE = decode_point(4 * pow(5, P - 2, P) % P, 0)

def ed25519_verify(key, message, signature):
    """The signature is R and S, and holds when R is [S]B - [h]A."""
    s, n = int.from_bytes(signature[32:], "little"), int.from_bytes(key, "little")
    if len(signature) != 64 or s >= L:
        return False
    x, y, _, t = decode_point(n & (1 << 255) - 1, n >> 255)
    h = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), "little") % L
    minus, r = (P - x, y, 1, P - t), (0, 1, 1, 0)
    both = add(BASE, minus)
    for bit in range(252, -1, -1):
        r = add(r, r)
        if s >> bit & 1 or h >> bit & 1:
            r = add(r, both if s >> bit & h >> bit & 1 else BASE if s >> bit & 1 else minus)
    z = pow(r[2], P - 2, P)
    return (r[1] * z % P | (r[0] * z % P & 1) << 255).to_bytes(32, "little") == signature[:32]

def unbase64(text, size=None):
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError:
        raise Bad("not base64") from None
    if base64.b64encode(raw).decode() != text or size and len(raw) != size:
        raise Bad("not base64 in its one form and size")
    return raw

unhash = lambda text: unbase64(text, 32)

def number(text, limit=2**64):
    if not re.fullmatch(N, text) or int(text) >= limit:
        raise Bad("not a number")
    return int(text)

def parse_json(text, limit=MAX_FILE):
    def no_twins(pairs):
        if len(dict(pairs)) != len(pairs):
            raise ValueError
        return dict(pairs)
    try:
        value = json.loads(text, object_pairs_hook=no_twins)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict) or len(text.encode() if isinstance(text, str) else text) > limit:
        raise Bad("not a JSON object, without a key twice, within its limit")
    return value

def write_json(value):
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return (text.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029") + "\n").encode()

# Signed notes: C2SP signed-note, with exactly one signature.

class Key:
    def __init__(self, text, until=2**63):
        self.name, self.id, raw = text.strip().split("+", 2)
        raw = unbase64(raw, 33)
        if raw[0] != 1 or sha(self.name.encode(), b"\n", raw)[:4].hex() != self.id:
            raise Bad("not a verifier key")
        self.public, self.until = raw[1:], until

Foreign = type("Foreign", (Bad,), {})

def open_note(signed, key):
    text, mark, line = signed.rpartition(b"\n\n")
    match = re.fullmatch("— ([^ \n+]+) ([A-Za-z0-9+/=]+)\n", line.decode("utf-8", "replace"))
    if not mark or not match:
        raise Bad("not a note with one signature")
    raw, text = unbase64(match[2]), text + b"\n"
    if (match[1], raw[:4].hex()) != (key.name, key.id):
        raise Foreign("another key signed it")
    if not ed25519_verify(key.public, text, raw[4:]):
        raise Bad("the signature does not hold")
    return text.decode()

def open_checkpoint(signed, key):
    lines = open_note(signed, key).split("\n")
    if len(lines) != 4 or lines[0] != key.name:
        raise Bad("not a checkpoint of this log")
    return number(lines[1], 2**63), unhash(lines[2])

def open_shredding(signed, key):
    lines = open_note(signed, key).split("\n")
    if len(lines) < 7 or lines[1] != key.name or not re.fullmatch("time (0|[1-9][0-9]*)", lines[2]):
        raise Bad("not a shredding of this log")
    for line, word in ((lines[3], "by "), (lines[4], "reason ")):
        words = line[len(word):]
        if not line.startswith(word) or not words or words.strip() != words or not words.isprintable():
            raise Bad("no " + word)
    spans = []
    for line in lines[5:-1]:
        match = re.fullmatch(r"bodies (\d+) (\d+) (\d+)", line, re.ASCII)
        spans.append([number(n) for n in match.groups()] if match else [-1, 1, 0])
    if any(s[1] > s[2] for s in spans) or any(a[0] > b[0] or a[0] == b[0] and a[2] >= b[1] for a, b in zip(spans, spans[1:])):
        raise Bad("bodies are not in order")
    return spans

N, H, E = "(0|[1-9][0-9]{0,19})", "([A-Za-z0-9+/]{43}=)", "([0-9a-f]{32}%s)"
BATCH = re.compile("\n".join([
    "sluice.audit-batch/2", "([A-Za-z0-9_-]{1,64}/[A-Za-z0-9_-]{1,64})", f"epoch {E % ''} {E % '|-'} (boot|recover)", f"seq {N}",
    f"prev {H}", f"records {N} {N}", f"root {H}", f"payload {H} {N}", f"time (-?{N}) (-?{N}) (synced|unsynced)", f"drops {N}",
    f"seen ([^ \n]+) {N} {H}", "flags (open|seal)", ""]))

class Batch:
    """A batch note's text. There is one text for each batch."""

    def __init__(self, text):
        match = BATCH.fullmatch(text)
        if not match:
            raise Bad("not a batch")
        self.name, self.epoch, self.before, self.reason, seq, prev, first, count, root, payload, length, start, _, end, _, clock, \
            drops, origin, size, seen, flags = match.groups()
        self.seq, self.first, self.count, self.drops = map(number, (seq, first, count, drops))
        self.prev, self.root, self.seen = unhash(prev), unhash(root), (origin, number(size, 2**63), unhash(seen))
        self.to, self.synced, self.seal, self.entries, self.whole, self.twin = int(end), clock == "synced", flags == "seal", [], False, False
        unhash(payload)
        if "0" * 32 in (self.epoch, self.before) or self.count > MAX_RECORDS or self.first + self.count >= 2**64 or \
                number(length) > MAX_PAYLOAD or "-0" in (start, end) or max(abs(int(start)), abs(int(end))) >= 2**63:
            raise Bad("out of range")

    def __str__(self):
        return f"{self.name} epoch {self.epoch} batch {self.seq} leaf {self.index}"

# The tree: RFC 6962 §2.1.

def split(n):
    return 1 << (n - 1).bit_length() - 1

def tree(leaves):
    if len(leaves) < 2:
        return leaves[0] if leaves else sha()
    k = split(len(leaves))
    return sha(b"\1", tree(leaves[:k]), tree(leaves[k:]))

def root_from_proof(index, size, leaf, proof):
    if (size > 1) != bool(proof):
        raise Bad("the proof has not the length that it should have")
    if size == 1:
        return leaf
    k, rest, other = split(size), proof[:-1], proof[-1]
    if index < k:
        return sha(b"\1", root_from_proof(index, k, leaf, rest), other)
    return sha(b"\1", other, root_from_proof(index - k, size - k, leaf, rest))

HEAD = re.compile(f"(?m)^{N} {H}(?: (?:([A-Za-z0-9+/]{{22}}==) {N}|{H}) {N})?\n".encode())

def cut(data, at, length):
    end = at + number(length)
    if data[end:end + 1] != b"\n":
        raise Bad("not as long as it says")
    return data[at:end], end + 1

def read_entries(data, hiding):
    """The entries of a records file: what each says, and whether something is wrong with it in itself."""
    at = 0
    while at < len(data):
        e, head = SimpleNamespace(no=0, leaf=ZERO, header=None, body=b"", destroyed=False, wrong=True), HEAD.match(data, at)
        try:
            no, leaf, salt, header, hashed, length = (part and part.decode() for part in head.groups())
            e.no, e.leaf, e.destroyed, end = number(no), unhash(leaf), hashed is not None, head.end()
            if length:
                e.header, end = cut(data, end, header or length)
            if salt:
                e.body, end = cut(data, end, length)
            is_no = b"ev2" + e.no.to_bytes(8, "big")
            hash_of_body = sha(b"\2", is_no, unbase64(salt, 16), e.body) if salt else unhash(hashed or leaf)
            e.wrong = e.leaf != sha(b"\0", is_no, hash_of_body, e.header) if length else not hiding
        except (Bad, AttributeError, OverflowError):
            head = HEAD.search(data, data.find(b"\n", at) + 1 or len(data))
            end = head.start() if head else len(data)
        at = end
        yield e

class Verification:
    def __init__(self, trust, bundle):
        self.bundle, self.findings, self.agents = bundle, [], {}
        self.log, revoked = Key(trust["log"]), {r["key"]: r["from"] for r in trust.get("revoked", [])}
        for text in trust["agents"]:
            key = Key(text, revoked.get(text, 2**63))
            self.agents.setdefault(key.name, []).append(key)
        said = parse_json(raw := self.read("bundle.json"))
        self.scope, self.first, self.session = said["scope"]["kind"], said["scope"].get("first", 0), said["scope"].get("session", "")
        scope = {"kind": self.scope, **({"first": self.first} if self.first else {}), **({"session": self.session} if self.session else {})}
        time = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{0,8}[1-9])?Z", said["exported"])
        if write_json({"format": "sluice.bundle/2", "scope": scope, "exported": said["exported"]}) != raw or not time or \
                self.scope not in ("log", "range", "session") or type(self.first) is not int:
            raise Bad("bundle.json is not of this format")
        self.exported = int(datetime.fromisoformat(time[1] + "+00:00").timestamp()) * 1000 + int(float(time[2] or 0) * 1000)
        self.head, self.notes, self.batches, self.bodies, self.leaves, self.shuffled = None, {}, [], {}, None, False

    def read(self, name):
        path = self.bundle / name
        if path.is_symlink() or not path.is_file() or path.stat().st_size > MAX_FILE:
            raise Bad("not a regular file within its limit: " + name)
        return path.read_bytes()

    def find(self, code, where, detail=""):
        self.findings.append(f"{code}: {where}: {detail}")

    def run(self, kept):
        try:
            self.head = open_checkpoint(self.read("checkpoint"), self.log)
        except Bad as e:
            self.find("checkpoint-signature" if (self.bundle / "checkpoint").exists() else "bundle-malformed", "checkpoint", e)
        self.list_files()
        self.head and self.check_leaves(*self.head)
        for index in sorted(self.notes):
            self.check_note(index, self.notes[index])
        for b in self.batches:
            self.check_records(b)
        for check in (self.check_chains, self.check_order, self.check_seen, self.check_sessions):
            check()
        for data in kept:
            self.check_kept(data)

    def list_files(self):
        for where, dirs, files in os.walk(self.bundle):
            place = os.path.relpath(where, self.bundle)
            dirs[:] = [d for d in dirs if place == "." and d in ("notes", "records", "proofs") and not (self.bundle / d).is_symlink() or self.find("bundle-malformed", d)]
            for name in files:
                match = re.fullmatch(N, name)
                if place == "." and name not in ("bundle.json", "checkpoint", "cosigned", "cosigned.proof") or \
                        place != "." and (not match or int(match[1]) >= 2**63 or not (self.bundle / "notes" / match[1]).exists()):
                    self.find("bundle-malformed", place + "/" + name)
                elif place == "notes":
                    self.notes[int(name)] = self.read("notes/" + name)

    def check_leaves(self, size, root):
        there = sorted(self.notes)
        whole = self.scope == "session" or self.check_gaps(self.first if self.scope == "range" else 0, size, there)
        if self.scope == "log":
            leaves = [sha(b"\0", self.notes[i]) for i in there]
            if whole and tree(leaves) == root:
                self.leaves = leaves
            elif whole:
                self.shuffled = True
                self.find("log-inclusion", "log", "the notes do not give the root")
            return
        for i in there:
            try:
                *proof, end = self.read(f"proofs/{i}").decode().split("\n")
                proof = [unhash(line) for line in proof]
                if end or i >= size or root_from_proof(i, size, sha(b"\0", self.notes[i]), proof) != root:
                    raise Bad("the proof does not hold")
            except ValueError as e:
                self.find("log-inclusion", i, e)

    def check_gaps(self, first, size, there):
        before, inside = len(self.findings), [i for i in there if first <= i < size]
        for i in set(there) - set(inside):
            self.find("log-inclusion", i, "outside the log")
        for last, i in zip([first - 1] + inside, inside + [size]):
            if i > last + 1:
                self.find("tail-truncated" if i == size else "batch-missing", last + 1)
        return len(self.findings) == before

    def check_note(self, index, signed):
        try:
            if signed.startswith(b"sluice.shred/1\n"):
                if (self.bundle / f"records/{index}").exists():
                    self.find("bundle-malformed", f"records/{index}")
                for of, first, last in open_shredding(signed, self.log):
                    self.bodies.setdefault(of, []).append((first, last, index))
                return
            text, mark, _ = signed.decode().partition("\n\n")
            if len(signed) > MAX_NOTE or not mark:
                raise Bad("not a signed note")
            b = Batch(text + "\n")
            b.index, b.hash, b.leaf = index, sha(signed), sha(b"\0", signed)
            for key in self.agents.get(b.name, []):
                try:
                    open_note(signed, key)
                    return self.batches.append(b) if index < key.until else self.find("key-revoked", b)
                except Foreign:
                    continue
            self.find("key-foreign" if b.name in self.agents else "agent-unknown", b)
        except ValueError as e:
            self.find("note-signature", index, e)

    def check_records(self, b):
        try:
            before, lines = len(self.findings), list(read_entries(self.read(f"records/{b.index}"), self.scope == "session"))
        except Bad as e:
            return self.find("record-deleted", b, e)
        self.check_numbers(b, lines)
        if len(self.findings) > before:
            return
        if tree([line.leaf for line in lines]) != b.root:
            return self.find("record-altered", b, "the records do not give the root")
        b.whole = True
        for line in lines:
            if line.header is not None:
                self.check_record(b, line)

    def check_numbers(self, b, lines):
        """An altered line may lie about its number: it is believed only between its neighbours'."""
        end, limits = b.first + b.count, []
        for line in reversed(lines):
            limits.append(end)
            end = end if line.wrong else line.no
        there, following = [], b.first
        for line, limit in zip(lines, reversed(limits)):
            if line.wrong:
                line.no = line.no if following <= line.no < limit else following
                self.find("record-altered", b, f"record {line.no}")
            following = line.no + 1
            if not b.first <= line.no < b.first + b.count or line.no in there:
                self.find("record-added", b, f"record {line.no}")
            elif there and line.no < max(there):
                self.find("reordered", b, f"record {line.no}")
            there.append(line.no)
        for no in set(range(b.first, b.first + b.count)) - set(there):
            self.find("record-deleted", b, f"record {no}")

    def check_record(self, b, line):
        where = f"{b.name} leaf {b.index} record {line.no}"
        try:
            header = parse_json(line.header.decode(), MAX_HEADER)
            if header.get("no") != line.no or not header.get("type") or \
                    any((header.get(part) is not None) != (header["type"] in types) for part, types in PARTS.items()):
                raise Bad("the header makes no sense")
            if line.body:
                parse_json(line.body.decode(), MAX_BODY)
        except ValueError as e:
            return self.find("record-invalid", where, e)
        b.entries.append(header)
        if line.destroyed and not any(first <= line.no <= last and at > b.index for first, last, at in self.bodies.get(b.index, [])):
            self.find("body-missing", where)

    def check_chains(self):
        latest = max([self.exported] + [b.to for b in self.batches if b.synced])
        for name in sorted({b.name for b in self.batches}):
            epochs, followed = {}, set()
            for b in self.batches:
                if b.name == name:
                    epochs.setdefault(b.epoch, []).append(b)
            oldest = next(iter(epochs))
            for epoch in epochs:
                notes = epochs[epoch]
                notes.sort(key=lambda b: b.seq)
                self.check_epoch(notes)
                if notes[0].before != "-" and notes[0].before in followed:
                    self.find("chain-broken", notes[0], "two epochs follow the same one")
                followed.add(notes[0].before)
                self.check_link(notes[0], sorted(epochs.get(notes[0].before, []), key=lambda b: b.seq), epoch == oldest)
            for epoch, notes in epochs.items():
                if self.scope != "session" and epoch not in followed and not notes[-1].seal and latest - notes[-1].to > SILENCE:
                    self.find("tail-open", notes[-1])

    def check_epoch(self, notes):
        for before, b in zip(notes, notes[1:]):
            b.twin = b.seq == before.seq
            if b.twin:
                self.find("batch-replayed" if b.hash == before.hash else "equivocation", b)
        notes[:] = [b for b in notes if not b.twin]
        for before, b in zip([None] + notes, notes):
            if b.drops:
                self.find("records-dropped", b)
            if before and b.seq != before.seq + 1:
                if self.scope != "session":
                    self.find("batch-missing", b)
            elif before and (b.prev != before.hash or before.seal or b.first != before.first + before.count + b.drops or
                             (b.before, b.reason) != (before.before, before.reason)):
                self.find("chain-broken", b)

    def check_link(self, first, before, oldest):
        if self.scope == "session" or self.scope == "range" and oldest:
            return
        if first.seq:
            return self.find("batch-missing", first)
        if first.first != first.drops:
            self.find("chain-broken", first, "the numbers do not begin at 0")
        if first.before == "-":
            if not oldest or first.prev != ZERO:
                self.find("epoch-unlinked", first)
        elif not before:
            self.find("batch-missing", first, "the epoch before")
        elif before[-1].hash != first.prev:
            self.find("epoch-unlinked", first)
        elif before[-1].seal != (first.reason == "boot"):
            self.find("chain-broken", first, "reason and seal contradict each other")

    def check_order(self):
        newest = {}
        for b in self.batches if self.shuffled else []:
            if not b.twin and newest.get((b.name, b.epoch), -1) > b.seq:
                self.find("reordered", b)
            newest[b.name, b.epoch] = max(b.seq, newest.get((b.name, b.epoch), -1))

    def check_seen(self):
        for b in self.batches if self.head else []:
            origin, size, root = b.seen
            if size and origin != self.log.name:
                self.find("split-view", b)
            elif size > b.index:
                self.find("log-rolled-back", b)
            elif size and self.leaves and tree(self.leaves[:size]) != root:
                self.find("split-view", b)

    def check_sessions(self):
        damaged, sessions = {b.name for b in self.batches if not b.whole}, {}
        for b in self.batches:
            for h in b.entries if not b.twin else []:
                if h.get("session"):
                    sessions.setdefault((b.name, b.epoch, h["session"]), []).append(h)
        for (name, _, session), headers in sessions.items():
            closed = [h["closed"]["records"] for h in headers if h["type"] == "session.closed"]
            opened = any(h["type"] == "session.opened" for h in headers)
            if name not in damaged and self.scope == "session" and session != self.session:
                self.find("record-added", session)
            elif name not in damaged and (closed[-1] != len(headers) if opened and closed else self.scope == "session" or
                                          not opened and self.scope != "range"):
                self.find("session-incomplete", session)
        if self.scope == "session" and not sessions:
            self.find("session-incomplete", self.session)

    def check_kept(self, data):
        receipt, here = {}, {b.index: b for b in self.batches}
        try:
            if data.startswith(b"{"):
                receipt = parse_json(data)
                data = receipt["checkpoint"].encode()
            size, root = open_checkpoint(data, self.log)
            for claim in receipt.get("batches", []):
                b = here.get(claim["index"])
                if b is None and 0 <= claim["index"] < size:
                    continue
                if b is None or (b.epoch, b.seq) != (claim["epoch"], claim["seq"]) or \
                        root_from_proof(b.index, size, b.leaf, [unhash(h) for h in claim["proof"]]) != root:
                    raise Bad("it proves nothing")
        except (ValueError, KeyError, TypeError) as e:
            return self.find("receipt-forged", "kept", e)
        if self.head and size > self.head[0]:
            self.find("log-rolled-back", "kept")
        elif self.head and size < self.head[0] and self.leaves is None:
            self.find("bundle-malformed", "kept", "it takes the whole log to compare")
        elif self.head and root != (self.head[1] if size == self.head[0] else tree(self.leaves[:size])):
            self.find("split-view", "kept")

def main(trust, bundle, *kept):
    try:
        v = Verification(parse_json(Path(trust).read_bytes()), Path(bundle))
        v.run([Path(name).read_bytes() for name in kept])
    except (ValueError, OSError, KeyError, TypeError, AttributeError) as e:
        print("verify.py:", ascii(str(e)), file=sys.stderr)
        return 2
    for finding in v.findings:
        print(finding if finding.isprintable() else ascii(finding))
    return 1 if v.findings else 0

if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]) if len(sys.argv) > 2 else 2)
