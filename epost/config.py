"""
A daemon's TOML file, read into L{epost.settings}.

Every fault is found in one reading and told as C{file:line: what is wrong, expected what would be right}. Nothing is
made and no other file is opened here.

C{python -m epost.config} prints the reference of all settings (docs/settings.md).
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import MISSING, Field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

from epost.mail.fault import Fault
from epost.settings import SECTIONS, Settings
from epost.toml import keyLines, oneOf, parsed

KINDS = ("backend", "gateway")
BACKENDS = ("mailboxes", "submission")  # sections that a gateway does not know

_BELONGS = {  # what only a daemon of the other kind knows, and what to do instead
    "mailboxes": "none, since a gateway has no mailboxes: [tables] gateway names the hosts that have",
    "submission": "none, since a gateway has no accounts: people hand over their mail to the back-end",
    "server.postmaster": "the account in [domains] postmaster",
    "domains.postmaster": "the address in [server] postmaster",
}


class ConfigError(Exception):
    """
    A configuration that cannot be used.

    @ivar faults: all that is wrong with it.
    """

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = sorted(faults)
        super().__init__("\n".join(map(str, self.faults)))


def readSettings(file: str, kind: str, faults: list[Fault]) -> Settings | None:
    """
    Read a configuration.

    @param file: its path.
    @param kind: C{backend} or C{gateway}.
    @param faults: gets what is wrong, all of it. Where it got something no daemon may run on what is returned: keys
        that are wrong have their defaults there, so that the tables can be looked at all the same.
    @return: L{None} where the file is no TOML at all.
    """
    try:
        data = Path(file).read_bytes()
    except OSError as error:
        faults.append(Fault(file, 1, f"cannot be read: {error.strerror}", f"a configuration of epost-{kind}"))
        return None
    return parseSettings(file, data, kind, faults)


def parseSettings(file: str, data: bytes, kind: str, faults: list[Fault]) -> Settings | None:
    """The same from octets."""
    try:
        text = data.decode("utf-8-sig")  # Notepad's BOM
    except UnicodeDecodeError as error:
        faults.append(Fault(file, data.count(b"\n", 0, error.start) + 1, "is not UTF-8", "TOML in UTF-8"))
        return None
    tree = parsed(file, text)
    if isinstance(tree, Fault):
        faults.append(tree)
        return None
    lines = {".".join(place): line for place, line in keyLines(text).items()}
    return _Reading(file, kind, MappingProxyType(lines), faults).settings(tree)


class _Reading:
    """One reading of one file."""

    def __init__(self, file: str, kind: str, lines: MappingProxyType[str, int], faults: list[Fault]) -> None:
        self.file = file
        self.kind = kind
        self.lines = lines
        self.faults = faults

    def fault(self, name: str, why: str, expected: str) -> None:
        """A fault at a C{section} or C{section.key}; of one that is missing, at its section."""
        line = self.lines.get(name) or self.lines.get(name.partition(".")[0]) or 1
        self.faults.append(Fault(self.file, line, why, expected))

    def settings(self, tree: dict[str, Any]) -> Settings:
        """The whole file, as far as it can be read."""
        before = len(self.faults)
        known = [name for name in SECTIONS if self.kind == "backend" or name not in BACKENDS]
        for name in tree:
            if not isinstance(tree[name], dict) and name not in SECTIONS:
                self.fault(name, f"key {name} outside of a section", "a section such as [server] above it")
            elif name not in known:
                self._unknown(name, f"section [{name}]", known)
        sections = {name: self.section(name, cls, tree.get(name, {})) for name, cls in SECTIONS.items()}
        settings = Settings(self.kind, self.file, self.lines, **sections)
        if len(self.faults) == before:
            self._together(settings)
        return settings

    def section(self, name: str, cls: type, table: Any) -> Any:
        """One section; a key that is wrong has its default."""
        if self.kind == "gateway" and name in BACKENDS:
            return None if name == "mailboxes" else cls()
        keys = {f.name: f for f in fields(cls) if f.metadata["only"] in ("", self.kind)}
        values = {key: f.metadata["form"].none for key, f in keys.items() if f.default is MISSING}
        if not isinstance(table, dict):
            self.fault(name, f"{name} is no section", f"[{name}]")
            return cls(**values)
        for key in table:
            if key not in keys:
                self._unknown(f"{name}.{key}", f"key {key} in [{name}]", keys)
        missing = [key for key, f in keys.items() if self._mustStand(name, f) and key not in table]
        for key in missing:
            form, example = keys[key].metadata["form"], keys[key].metadata["example"]
            self.fault(name, f"[{name}] {key} is missing", f"{form.expected}: {key} = {written(example)}")
        for key in table:
            if key in keys:
                self._value(name, keys[key], table[key], values)
        if name == "domains" and not values.get("local") and ("local" in table or "local" in missing):
            values = {}  # whose domain is local cannot be told, so no account can be called wrong
        return cls(**values)

    def _mustStand(self, section: str, key: "Field[Any]") -> bool:
        """Whether a key has no default."""
        return key.default is MISSING or (self.kind, section, key.name) == ("backend", "domains", "local")

    def _value(self, section: str, key: "Field[Any]", raw: Any, values: dict[str, Any]) -> None:
        """One value, into C{values} if it is right."""
        form = key.metadata["form"]
        name = f"{section}.{key.name}"
        try:
            values[key.name] = form.read(raw)
        except ValueError as error:
            self.fault(name, f"[{section}] {key.name} = {written(raw)}: {error}".rstrip(": "), form.expected)

    def _unknown(self, name: str, what: str, known: Iterable[str]) -> None:
        """A section or a key that is none, and the nearest one that is."""
        if name in _BELONGS:
            self.fault(name, f"{what} is not for a {self.kind}", _BELONGS[name])
            return
        self.fault(name, f"unknown {what}", oneOf(name.rpartition(".")[2], known))

    def _together(self, settings: Settings) -> None:
        """What is wrong only in view of another setting."""
        local = settings.domains.local
        if self.kind == "backend" and not local:
            self.fault("domains.local", "[domains] local is empty", "at least one domain")
        if settings.mailboxes and len(local) > 1 and "%DOMAIN%" not in settings.mailboxes.place:
            why = f"[mailboxes] place is the same for {local[0]} and {local[1]}"
            self.fault("mailboxes.place", why, "a place with %DOMAIN%, such as 'inbox\\%DOMAIN%\\%USERNAME%'")
        relay = settings.relay
        if relay.hello == "HELO" and "verify" in (relay.tls, *dict(relay.tls_domains).values()):
            which = "tls" if relay.tls == "verify" else "tls_domains"
            why = f"[relay] {which} wants verify, and a host that is greeted with HELO offers no TLS"
            self.fault(f"relay.{which}", why, 'hello = "EHLO"')
        self._logins(settings)
        if settings.relay.gateway in settings.listening:
            self.fault(
                "relay.gateway", f"[relay] gateway {settings.relay.gateway} is this server itself", "another host"
            )

    def _logins(self, settings: Settings) -> None:
        """Ports that nobody could use, and ports that are named twice."""
        submission, secure = settings.submission, bool(settings.tls.certificates)
        expected = '[tls] certificates; "epost cert self" makes one for a first try'
        if submission.listen_tls and not secure:
            self.fault("submission.listen_tls", "[submission] listen_tls without a certificate", expected)
        for key in ("listen", "receiver"):
            if getattr(submission, key) and not (secure or settings.login.clear):
                self.fault(
                    f"submission.{key}", f"[submission] {key} without a certificate: nobody can log in", expected
                )
        if settings.submits and not settings.login.mechanisms:
            why = "[login] mechanisms = []: nobody can log in where [submission] wants it"
            self.fault("login.mechanisms", why, "at least one")
        named = set(settings.server.listen)
        for key in ("listen", "listen_tls"):
            for endpoint in getattr(submission, key):
                if endpoint in named:
                    self.fault(f"submission.{key}", f'"{endpoint}" stands twice', "another port for each")
                named.add(endpoint)


def written(value: Any) -> str:
    """A value as TOML writes it, cut where it is long."""
    if isinstance(value, str) and "\\" in value and "'" not in value:
        return f"'{value}'"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(k)} = {written(v)}" for k, v in value.items()) + " }" if value else "{}"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 100 else text[:100] + "…"


def reference() -> Iterator[str]:
    """The lines of docs/settings.md."""
    yield "# Settings"
    yield ""
    yield "Every key of backend.toml and gateway.toml. Paths are relative to the file; a key that is left out has its"
    yield "default. This page is made from the source: `python -m epost.config > docs/settings.md`."
    for name, cls in SECTIONS.items():
        yield from ("", f"## [{name}]", "", " ".join((cls.__doc__ or "").split()), "")
        yield from ("| key | form | default | meaning |", "|---|---|---|---|")
        for f in fields(cls):
            notes = f.metadata
            default = "must stand" if notes["default"] is MISSING else "none"
            if notes["default"] not in (MISSING, None):
                default = f"`{written(notes['default'])}`"
            doc = notes["doc"] + {"": "", "backend": " Back-end only.", "gateway": " Gateway only."}[notes["only"]]
            if notes["example"] is not None:
                doc += f" Example: `{written(notes['example'])}`"
            yield f"| `{f.name}` | {notes['form'].expected} | {default} | {doc} |"


if __name__ == "__main__":
    print("\n".join(reference()))
