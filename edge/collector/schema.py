"""The tables of the collector's file. Each is made where it is missing, so the file of an older kit can be used on."""

from __future__ import annotations

# devices: what called; call_time, head_seq and head_hash are of the newest call. register: what may call, and what it
# showed. unfinished: records of which a part is missing. erasures: by the erasure's own entry.
SCHEMA = """
CREATE TABLE IF NOT EXISTS devices (
    device TEXT PRIMARY KEY, name TEXT NOT NULL, public_key TEXT NOT NULL, first_seen TEXT NOT NULL,
    last_seen TEXT NOT NULL, call_time TEXT, head_seq INTEGER, head_hash TEXT) STRICT;
CREATE TABLE IF NOT EXISTS register (
    device TEXT PRIMARY KEY, state TEXT NOT NULL, since TEXT NOT NULL, why TEXT NOT NULL, subject TEXT,
    fingerprint TEXT, skew_s REAL) STRICT;
CREATE INDEX IF NOT EXISTS register_by_subject ON register (subject);
CREATE TABLE IF NOT EXISTS entries (
    device TEXT NOT NULL, seq INTEGER NOT NULL, hash TEXT NOT NULL, prev TEXT NOT NULL, kind TEXT NOT NULL,
    decision TEXT, raw BLOB NOT NULL, signature BLOB NOT NULL, received TEXT NOT NULL,
    PRIMARY KEY (device, seq)) STRICT;
CREATE INDEX IF NOT EXISTS entries_of_decision ON entries (decision) WHERE decision IS NOT NULL;
CREATE TABLE IF NOT EXISTS parts (
    device TEXT NOT NULL, seq INTEGER NOT NULL, name TEXT NOT NULL, part INTEGER NOT NULL, parts INTEGER NOT NULL,
    data BLOB NOT NULL, PRIMARY KEY (device, seq, name, part)) STRICT;
CREATE TABLE IF NOT EXISTS unfinished (
    device TEXT NOT NULL, seq INTEGER NOT NULL, name TEXT NOT NULL, PRIMARY KEY (device, seq, name)) STRICT;
CREATE TABLE IF NOT EXISTS erasures (
    device TEXT NOT NULL, seq INTEGER NOT NULL, decision TEXT NOT NULL, records INTEGER NOT NULL, made TEXT NOT NULL,
    PRIMARY KEY (device, seq)) STRICT;
CREATE INDEX IF NOT EXISTS erasures_of_decision ON erasures (device, decision);
CREATE TABLE IF NOT EXISTS alarms (
    device TEXT NOT NULL, kind TEXT NOT NULL, seq INTEGER NOT NULL, hash TEXT NOT NULL, detail TEXT NOT NULL,
    raw BLOB NOT NULL, seen TEXT NOT NULL, PRIMARY KEY (device, kind, seq, hash)) STRICT;
CREATE TABLE IF NOT EXISTS notes (
    device TEXT NOT NULL, n INTEGER NOT NULL, kind TEXT NOT NULL, document TEXT NOT NULL, made TEXT NOT NULL,
    fetched TEXT, PRIMARY KEY (device, n)) STRICT;
CREATE TABLE IF NOT EXISTS rescored (
    device TEXT NOT NULL, seq INTEGER NOT NULL, model TEXT NOT NULL, document TEXT NOT NULL, agrees INTEGER NOT NULL,
    PRIMARY KEY (device, seq, model)) STRICT
"""
