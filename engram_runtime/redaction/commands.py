"""Secrets on command lines: `--password …`, `mysql -p…`, `curl -u user:…`, `echo … | docker login`."""

from __future__ import annotations

from engram_runtime.redaction.checks import any_value, form, random, typed

_ARG = r"['\"]?(?P<secret>[^\s'\"$|;&]{4,256})"
_ON = r"[^\n|;&]{0,200}?\s"
"""Further arguments of the same command."""
_VARIABLE = r"\w{0,48}(?:PASSWORD|PASSWD|PASS|SECRET|TOKEN|KEY|PWD)"

COMMANDS = (
    form(
        "password",
        r"(?i)(?:^|\s)(?:-u|--user|-a|--auth)[ =]['\"]?[\w.%+@-]{1,128}:(?P<secret>[^\s\"']{3,512})",
        any_value,
        *(" -u", " -a ", "--user", "--auth"),
    ),
    form(
        "option",
        r"(?i)-(?<!\w-)(?:[a-z]{1,20}-)?(?:password|passwd|passphrase|pass|token|secret|api[_-]?key|access[_-]?key)"
        r"(?:=|[ \t]{1,4})(?P<quote>[\"']?)(?P<secret>[^\s\"'$`;|&]{6,512}|(?<=[\"'])[^\n\"'$]{6,512})",
        typed,
        *("-pass", "-token", "-secret", "-api", "-access", "-key"),
    ),
    form(
        "password", rf"\b(?:mysql|mariadb)[a-z_]{{0,12}}\b{_ON}-p(?![ \t]){_ARG}", typed, "mysql", "mariadb"
    ),
    form("password", rf"\bsshpass\s{{1,4}}-p\s{{0,4}}{_ARG}", typed, "sshpass"),
    form(
        "password",
        r"\b(?:docker|podman|helm registry|oras|crane|skopeo|nerdctl|buildah)\s{1,4}(?:auth )?login\b"
        rf"{_ON}-p[ =]?{_ARG}",
        typed,
        " login",
    ),
    form(
        "password",
        rf"\b(?:7z[ar]?|rar|unrar|zip|unzip)\b{_ON}(?:-p(?!\s)|-P ?){_ARG}",
        typed,
        *("7z", "zip ", "rar "),
    ),
    form("password", rf"\bredis-cli\b{_ON}-a\s{{1,4}}{_ARG}", typed, "redis-cli"),
    form("password", rf"\bldap[a-z]{{3,10}}\b{_ON}-w\s{{1,4}}{_ARG}", typed, "ldap"),
    form(
        "password",
        rf"\b(?:smbclient|rpcclient)\b{_ON}-U\s{{0,4}}['\"]?[\w.\\/-]{{1,64}}%(?P<secret>[^\s'\"$]{{4,256}})",
        typed,
        *("smbclient", "rpcclient"),
    ),
    form(
        "password",
        rf"\bhtpasswd\s{{1,4}}(?:-[A-Za-z]{{1,8}}\s{{1,4}}){{1,4}}\S{{1,256}}\s{{1,4}}\S{{1,128}}\s{{1,4}}{_ARG}",
        typed,
        "htpasswd",
    ),
    form(
        "password",
        r"(?:echo|printf)\s{1,4}(?:-[neE]{1,3}\s{1,4})?['\"]?[\w.-]{1,64}:(?P<secret>[^\s'\"$|]{4,256})['\"]?"
        r"\s{0,4}\|\s{0,4}(?:sudo )?chpasswd",
        typed,
        "chpasswd",
    ),
    form(
        "password",
        r"(?:echo|printf)\s{1,4}(?:-[neE]{1,3}\s{1,4})?['\"]?(?P<secret>[^\s'\"$|]{6,512})['\"]?"
        r"\s{0,4}\|[^\n]{0,200}?--(?:password|passphrase|token|with-token)[a-z-]{0,8}(?:stdin|fd|\s|$)",
        typed,
        *("--pass", "--with-token", "--token"),
    ),
    form("password", r"-pass(?:in|out)?\s{1,4}pass:(?P<secret>[^\s'\"$]{4,256})", typed, "pass:"),
    form(
        "secret",
        rf"(?m)^[-+> ]{{0,20}}(?:ENV|ARG)\s{{1,4}}{_VARIABLE}\s{{1,4}}(?!=){_ARG}",
        typed,
        *("env ", "arg "),
    ),
    form(
        "secret",
        rf"\bset(?:\s{{1,4}}-[a-zA-Z]{{1,6}}){{1,4}}\s{{1,4}}{_VARIABLE}\s{{1,4}}{_ARG}",
        typed,
        "set -",
    ),
    form(
        "token",
        r"(?i) (?:auth|login|authenticate)[ \t](?:[^\n|;&]{0,60}?[ \t])?(?:--?[a-z-]{1,20}[ =])?"
        r"(?P<secret>[\w.-]{20,512})(?![\w./-])",
        random,
        *(" auth ", " login "),
    ),
    form("token", r"(?i)\bcodecov\b[^\n]{0,80}\s-t\s{1,4}(?P<secret>[\w-]{20,64})", random, "codecov"),
)
