"""Tokens that tell by themselves what they are: a provider's prefix, and what is known of the rest.

Prefixes and lengths are those of the providers' documentation and of public scanners' rules (gitleaks,
trufflehog, GitHub's list of supported patterns). Lengths are lower bounds: providers make tokens longer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from engram_runtime.redaction.spans import Span

_RUN = re.compile(r"[\w-]{16,}", re.ASCII)
_MIXED = re.compile(r"[A-Za-z]\d|\d[A-Za-z]")
_TABLE = bytes(97 if (code < 128 and chr(code).isalnum()) or code in b"_-" else 32 for code in range(256))
_LONG = b"a" * 16
_RULES: tuple[tuple[str, str, str], ...] = (
    # (kind, one of these every such token contains, in lower case, pattern)
    ("anthropic-key", "sk-ant-", r"sk-ant-[\w-]{16,}"),
    ("api-key", "sk-", r"sk-(?:or-|proj-|svcacct-|admin-)?(?=[\w-]*\d)(?=[\w-]*[A-Za-z])[A-Za-z0-9][\w-]{18,}"),
    ("github-token", "ghp_ gho_ ghu_ ghs_ ghr_", r"gh[pousr]_\w{30,}"),
    ("github-token", "github_pat_", r"github_pat_\w{30,}"),
    ("gitlab-token", "glpat- gldt- glft- glsoat- glrt- glffct- glimt- glagent- gloas- glptt- glcbt- glwt-",
     r"gl(?:pat|dt|ft|soat|rt|ffct|imt|agent|oas|ptt|cbt|wt)-[\w.-]{20,}"),
    ("gitlab-token", "gr1348941", r"GR1348941[\w-]{20,}"),
    ("aws-key", "akia asia abia acca a3t", r"(?:A3T[A-Z0-9]|AKIA|ASIA|ABIA|ACCA)[0-9A-Z]{16}(?![0-9A-Za-z])"),
    ("aws-key", "absk", r"ABSK[A-Za-z0-9+/]{100,}={0,2}"),
    ("jwt", "eyj", r"eyJ[\w-]{8,}\.eyJ[\w-]{8,}(?:\.[\w-]*)?"),
    ("stripe-key", "k_live_ k_test_ k_prod_", r"[sr]k_(?:live|test|prod)_\w{10,}"),
    ("stripe-secret", "whsec_", r"whsec_[A-Za-z0-9+/]{24,}={0,2}"),
    ("npm-token", "npm_", r"npm_\w{30,}"),
    ("pypi-token", "pypi-", r"pypi-[\w-]{50,}"),
    ("hugging-face-token", "hf_ api_org_", r"(?:hf|api_org)_[A-Za-z0-9]{30,}"),
    ("digitalocean-token", "dop_v1_ doo_v1_ dor_v1_", r"do[opr]_v1_[0-9a-f]{60,}"),
    ("google-key", "aiza", r"AIza[\w-]{35}"),
    ("google-secret", "gocspx-", r"GOCSPX-[\w-]{28}"),
    ("google-token", "ya29.", r"ya29\.[\w-]{20,}"),
    ("google-refresh-token", "1//0", r"1//0[\w-]{40,}"),
    ("api-key", "gsk_", r"gsk_\w{30,}"),
    ("api-key", "xai-", r"xai-\w{30,}"),
    ("api-key", "pplx-", r"pplx-\w{40,}"),
    ("api-key", "r8_", r"r8_\w{37,}"),
    ("api-key", "nvapi-", r"nvapi-[\w-]{40,}"),
    ("shopify-token", "shpat_ shpca_ shppa_ shpss_ shpct_", r"shp(?:at|ca|pa|ss|ct)_[a-fA-F0-9]{32}"),
    ("slack-token", "xox", r"xox[a-z](?:[.-]xox[bp])?-(?:\d+-)*[\w-]{10,}"),
    ("slack-token", "xapp-", r"xapp-\d-[A-Z0-9]+-\d+-[a-z0-9]+"),
    ("rubygems-key", "rubygems_", r"rubygems_[a-f0-9]{48}"),
    ("docker-token", "dckr_", r"dckr_[a-z]{3}_[\w-]{20,}"),
    ("heroku-key", "hrku-", r"HRKU-[\w-]{30,}"),
    ("sendgrid-key", "sg.", r"SG\.[\w-]{16,}\.[\w-]{30,}"),
    ("sendinblue-key", "xkeysib-", r"xkeysib-[a-f0-9]{64}-\w{16}"),
    ("mailgun-key", "key-", r"key-[a-f0-9]{32}"),
    ("mailchimp-key", "-us", r"[a-f0-9]{32}-us\d{1,2}"),
    ("twilio-key", "^sk[a-f0-9]{32}$ ^ac[a-f0-9]{32}$", r"(?:SK|AC)[a-f0-9]{32}(?!\w)"),
    ("new-relic-key", "nrak- nrii- nrra- nrsp- nrjs-", r"NR(?:AK|II|RA|SP|JS)-[\w-]{19,}"),
    ("sentry-token", "sntrys_ sntryu_", r"sntr(?:ys_eyJ[\w+/=-]{40,}|yu_[a-f0-9]{64})"),
    ("grafana-token", "glsa_ glc_", r"gl(?:sa_\w{32}_[A-Fa-f0-9]{8}|c_[A-Za-z0-9+/]{32,}={0,3})"),
    ("vault-token", "hvs. hvb. hvr.", r"hv[sbr]\.[\w-]{24,}"),
    ("terraform-token", ".atlasv1.", r"[A-Za-z0-9]{14}\.atlasv1\.[\w=-]{60,}"),
    ("databricks-token", "dapi", r"dapi[a-f0-9]{32}(?:-\d)?"),
    ("doppler-token", "dp.", r"dp\.(?:pt|st|ct|scim|audit|sa)\.(?:[\w-]{1,35}\.)?[A-Za-z0-9]{40,}"),
    ("linear-key", "lin_", r"lin_(?:api|oauth)_\w{32,}"),
    ("notion-token", "ntn_", r"ntn_\w{40,}"),
    ("square-token", "sq0", r"sq0[a-z]{3}-[\w-]{22,}"),
    ("postman-key", "pmak-", r"PMAK-[a-f0-9]{24}-[a-f0-9]{34}"),
    ("planetscale-token", "pscale_", r"pscale_(?:tkn|oauth|pw)_[\w.=-]{32,}"),
    ("fly-token", "fo1_ fm1 fm2_", r"f(?:o1_[\w-]{43}|m[12][ar]?_[\w+/=-]{100,})"),
    ("atlassian-token", "atatt3", r"ATATT3[\w=-]{100,}"),
    ("artifactory-key", "akcp", r"AKCp[A-Za-z0-9]{60,}"),
    ("artifactory-token", "cmvmd", r"cmVmd[A-Za-z0-9]{59}"),
    ("cloudflare-key", "0-", r"v1\.0-[a-f0-9]{24}-[a-f0-9]{100,}"),
    ("clojars-token", "clojars_", r"CLOJARS_[A-Za-z0-9]{50,}"),
    ("cargo-token", "cio", r"cio[A-Za-z0-9]{32}(?!\w)"),
    ("circleci-token", "ccipat_", r"CCIPAT_\w{20,}_[a-f0-9]{40}"),
    ("buildkite-token", "bkua_ bkaj_ bkct_", r"bk[a-z]{2}_[a-f0-9]{40}"),
    ("pulumi-token", "pul-", r"pul-[a-f0-9]{40}"),
    ("sonar-token", "squ_ sqp_ sqa_", r"sq[upa]_[a-f0-9]{40}"),
    ("airtable-token", "^pat[a-z0-9]{14}$", r"pat[A-Za-z0-9]{14}\.[a-f0-9]{64}"),
    ("asana-token", "1/", r"1/\d{16}(?:/\d{16})?:[a-f0-9]{32}"),
    ("figma-token", "figd_ figo_ figu_ figp_ figor_", r"fig[dopur]{1,2}_[\w-]{40,}"),
    ("dropbox-token", "sl.", r"sl\.[\w=-]{100,}"),
    ("dynatrace-token", "dt0", r"dt0[a-z]\d\d\.[A-Z0-9]{24}\.[A-Z0-9]{64}"),
    ("easypost-key", "ezak eztk", r"EZ[AT]K[A-Za-z0-9]{54}"),
    ("typeform-token", "tfp_", r"tfp_[\w.=-]{40,}"),
    ("supabase-token", "sbp_ sb_secret_", r"sb(?:p_(?:v0_)?[a-f0-9]{40}|_secret_[\w-]{20,})"),
    ("age-key", "age-secret-key-", r"AGE-SECRET-KEY-1[A-Z0-9]{50,}"),
    ("1password-token", "ops_", r"ops_eyJ[A-Za-z0-9+/]{200,}={0,3}"),
    ("azure-secret", "q~", r"[\w.~]{3}\dQ~[\w.~-]{31,34}"),
    ("mapbox-token", "eyj1", r"[sp]k\.eyJ1[\w-]{20,}\.[\w-]{20,}"),
    ("harness-key", "pat. sat.", r"[ps]at\.[\w-]{22}\.[A-Za-z0-9]{24}\.[A-Za-z0-9]{20}"),
    ("octopus-key", "api-", r"API-[A-Z0-9]{26}(?!\w)"),
    ("prefect-key", "pnu_ pnb_", r"pn[ub]_[A-Za-z0-9]{36}"),
    ("readme-key", "rdme_", r"rdme_[a-z0-9]{70}"),
    ("shippo-token", "shippo_", r"shippo_(?:live|test)_[a-fA-F0-9]{40}"),
    ("duffel-token", "duffel_", r"duffel_(?:test|live)_[\w=-]{43}"),
    ("openshift-token", "sha256~", r"sha256~[\w-]{43}"),
    ("frameio-token", "fio-u-", r"fio-u-[\w=-]{64}"),
    ("facebook-token", "eaam eaac", r"EAA[MC][A-Za-z0-9]{100,}"),
    ("square-token", "eaaa", r"EAAA[\w-]{50,}"),
    ("infracost-key", "ico-", r"ico-[A-Za-z0-9]{32}"),
    ("intra42-token", "s-s4t2", r"s-s4t2(?:ud|af)-[a-f0-9]{64}"),
    ("maxmind-key", "_mmk", r"[A-Za-z0-9]{6}_[A-Za-z0-9]{29}_mmk"),
    ("sourcegraph-token", "sgp_", r"sgp_(?:(?:[a-fA-F0-9]{16}|local)_)?[a-fA-F0-9]{40}"),
    ("telegram-token", "^[a-z][a-z0-9_-]{34}$", r"\d{8,10}:[A-Za-z][\w-]{34}(?![\w-])"),
    ("discord-token", "^[mno][a-z0-9]{23,27}$", r"[MNO][A-Za-z\d]{23,27}\.[\w-]{6}\.[\w-]{27,}"),
    ("discord-token", "mfa.", r"mfa\.[\w-]{84}"),
    ("grafana-key", "eyjrijoi", r"eyJrIjoi[A-Za-z0-9+/=]{70,}"),
    ("notion-token", "secret_", r"secret_[A-Za-z0-9]{43}(?!\w)"),
    ("contentful-token", "cfpat-", r"CFPAT-[\w-]{43}"),
    ("wakatime-key", "waka_", r"waka_[0-9a-f-]{36}"),
    ("authress-key", ".acc", r"(?:sc|ext|scauth|authress)_\w{5,30}\.\w{4,6}\.acc[_-][a-z0-9-]{10,32}\.[\w+/=-]{30,}"),
)  # fmt: skip
_BOUNDARY = r"(?:(?<![A-Za-z0-9_])|(?<=\\[nrt])|(?<=%[0-9A-Fa-f]{2}))"
"""A token begins where no word goes on, or after an escape of JSON or of a URL."""
_IN_RUN = re.compile(r"[\w-]+")


class _Rule(NamedTuple):
    kind: str
    hint: str
    shape: re.Pattern[str] | None
    """Instead of the hint: what a run looks like, where the prefix alone says too little."""
    in_run: bool
    pattern: re.Pattern[str]


def _rules() -> tuple[_Rule, ...]:
    found = []
    for kind, hints, rule in _RULES:
        pattern = re.compile(_BOUNDARY + f"(?:{rule})")
        for hint in hints.split():
            shape = re.compile(hint, re.MULTILINE) if hint.startswith("^") else None
            found.append(_Rule(kind, hint, shape, _IN_RUN.fullmatch(hint) is not None, pattern))
    return tuple(found)


_COMPILED = _rules()


def runs(text: str) -> str:
    """Long runs of letters mixed with digits, in lower case, a line each: without one no token is in the text."""
    if _LONG not in text.encode("utf-8", "replace").translate(_TABLE):
        return ""
    return "\n".join([run for run in _RUN.findall(text) if _MIXED.search(run)]).lower()


def hinted(said: str, low: str) -> Iterator[_Rule]:
    """The rules that could find something; `said` as `runs` gives it, `low` the text in lower case."""
    for rule in _COMPILED:
        if rule.shape.search(said) if rule.shape else rule.hint in (said if rule.in_run else low):
            yield rule


def tokens(text: str, low: str, said: str) -> Iterator[Span]:
    """Tokens known by their form."""
    for rule in hinted(said, low):
        for found in rule.pattern.finditer(text):
            yield Span(found.start(), found.end(), rule.kind)
