"""English words that decide whether two statements agree: opposites, changes, words that carry nothing.

Fixed tables of general language, none of them taken from any benchmark's texts.
"""

from __future__ import annotations


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


LIGHT = _set(
    "a an the this that these those is are was were be been being am do does did done have has had having will would"
    " shall can could may might it its they them their there here we us our you your i my he she his her who which of"
    " to for in on at by from with via through as into onto under within and or but so then than also just very"
    " really please all every each any some both such per if when while where because due since about get gets got"
    " getting gotten go goes going set sets make makes made let lets use uses used using user users' one ones thing"
    " things way out up off over only even too currently still already always usually generally normally simply"
    " must should need needs needed ought required says said say want wants wanted asks asked ask like likes liked"
    " prefers prefer preferred take takes taken happen happens put puts keep keeps kept live lives belong belongs"
    " larger more most least less main default primary"
)
"""Words whose presence in one text alone is no difference. Some of them count elsewhere (see OPPOSITES)."""

GRAMMAR = _set(
    "a an the this that these those is are was were be been being am do does did have has had will would shall can"
    " could may might it its they them their we us our you your i my of to for in on at by from with via through as"
    " into onto and or but so than also just very really please"
)
"""Of these, the ones that never stand in a slot of their own."""

NEGATIONS = _set(
    "not no never without cannot cant dont doesnt didnt isnt arent wasnt wont shouldnt mustnt neednt none"
)

AVOIDING = _set("avoid avoids avoided avoiding refuse refuses refused")
"""Verbs that negate what they govern."""

POLES: tuple[tuple[frozenset[str], frozenset[str]], ...] = tuple(
    (_set(plus), _set(minus))
    for plus, minus in (
        (
            "allow allows allowed permit permits permitted fine ok okay acceptable accept accepts accepted welcome"
            " possible encouraged legal support supports supported",
            "forbid forbids forbidden prohibit prohibits prohibited ban bans banned disallow disallows disallowed"
            " reject rejects rejected deny denies denied refused discouraged illegal impossible taboo",
        ),
        (
            "require requires required mandatory must compulsory obligatory necessary needed need needs enforced",
            "optional voluntary unnecessary unneeded dispensable",
        ),
        (
            "enable enables enabled on active activated up available running started live",
            "disable disables disabled off inactive deactivated down unavailable stopped paused suspended",
        ),
        (
            "pass passes passed passing green fixed works work working succeed succeeds succeeded success stable"
            " reliable healthy resolved solved repaired",
            "fail fails failed failing red broken breaks flaky unstable unreliable unhealthy unresolved unsolved"
            " crashes crashing crash",
        ),
        (
            "use uses used using adopt prefer prefers preferred like likes liked love loves want wants wanted favour"
            " favor enjoys",
            "dislike dislikes disliked hate hates hated",
        ),
        ("include includes included including", "exclude excludes excluded excluding omit omits"),
        (
            "add adds added keep keeps kept retain retains",
            "remove removes removed delete deletes deleted drop drops",
        ),
        ("always", "seldom rarely"),
        ("before prior ahead", "after following behind"),
        ("public open external exposed", "private closed internal hidden"),
        ("sync synchronous synchronously blocking", "async asynchronous asynchronously"),
        ("automatic automatically auto", "manual manually"),
        ("true yes", "false no"),
        ("safe secure", "unsafe dangerous insecure risky"),
        ("mutable writable", "immutable readonly frozen"),
        ("strict", "lenient loose lax"),
        ("increase increases grows", "decrease decreases shrinks"),
        ("encrypted", "plaintext cleartext"),
        ("lowercase", "uppercase"),
        ("ascending", "descending"),
        ("first", "last"),
        ("minimum min", "maximum max"),
        ("fast quick", "slow"),
        ("full complete completely", "partial partially incomplete"),
        ("present exists", "absent missing"),
        ("online", "offline"),
        ("temporary temporarily", "permanent permanently"),
        ("early", "late"),
        ("wrong incorrect", "right correct"),
        ("deprecated obsolete", "recommended current"),
        ("sequentially sequential serially serial", "parallel concurrently concurrent"),
        ("locally local", "remotely remote"),
        ("case-sensitive", "case-insensitive"),
        ("stateless", "stateful"),
        ("eager eagerly", "lazy lazily"),
    )
)
"""Pairs of opposite poles."""


def _pole_of() -> dict[str, frozenset[tuple[int, int]]]:
    found: dict[str, set[tuple[int, int]]] = {}
    for number, poles in enumerate(POLES):
        for sign, pole in zip((1, -1), poles, strict=True):
            for word in pole:
                found.setdefault(word, set()).add((number, sign))
    return {word: frozenset(poles) for word, poles in found.items()}


POLE_OF = _pole_of()
"""For each word its poles: (number of the pair, 1 or -1)."""


NEGATING_PREFIXES = frozenset(("un", "in", "im", "ir", "il", "dis", "non", "non-"))

CHANGES = _set(
    "now instead anymore renamed moved switched replaced replaces migrated changed upgraded downgraded bumped raised"
    " lowered increased decreased reduced doubled halved tripled cut shortened extended deprecated retired dropped"
    " removed gone went became becomes formerly previously superseded rewritten swapped transitioned converted"
    " decommissioned sunset abandoned expanded shrunk grown tightened relaxed postponed rescheduled reassigned"
    " relocated restored reverted re-enabled upgrading untouched unchanged former newly"
)
"""Words that say that something is no longer as it was."""

CHANGE_PHRASES = (
    "no longer",
    "any more",
    "from now on",
    "not any longer",
    "used to be",
    "as of",
    "as before",
    "until now",
    "so far",
    "took over",
    "takes over",
    "in place of",
    "rather than before",
    "is back",
    "again",
)
ANCHORS = _set(
    "has have had must should may can cannot will need needs get gets uses use takes take wants prefers likes supports"
    " requires fails raises returns owns contains holds needs lists reads writes consumes produces finishes covers"
)
"""Further verbs that end the subject of a statement."""

COMPOUNDING = _set(
    "non pre re self multi cross semi sub anti co ex long short well real read write end front back time only based"
    " level wide side in up off on out free safe aware first last like per by to of the so an line term day week"
    " month year hour minute second sized specific friendly ready proof driven oriented related bound fit case"
    " high low full half open closed hard soft built out one two three"
)
"""Parts of hyphenated words that make them ordinary English rather than names."""

ASSIGNING = _set(
    "is are was to now at on went becomes became set bumped upgraded raised lowered increased decreased reduced"
    " doubled cut pinned equals from version"
)
"""Words that may stand between a name and its value."""

STATUS_WORDS = _set("http status code codes on returns return returned got a gives with")
"""Words before a three-digit number that make it an HTTP status rather than an amount."""

COMPARING = _set("over than before after calls call rather")
"""Words between two things whose exchange says the opposite."""

PLACING = _set("in on at for under during of")
"""Prepositions before where or for what something holds."""

ARTICLES = _set("a an the our all each every its")
"""What stands between a preposition and its noun."""

STATIVE = _set("is are was were be been called named equals means")
"""Copulas: what follows them is what the subject is."""

SINGLE = _set(
    "is are was were called named equals listens listen runs run lives live resides stored stores kept keep hosted"
    " deployed signed expires expire points point defaults default scheduled starts start ends end located published"
    " pinned bound set limited capped sent go goes built written managed served handled routed rotated stays happen"
    " happens belongs leads based formatted encoded compiled encrypted hashed tagged configured mounted"
    " exposed assigned mapped"
)
"""Verbs and participles whose object is one at a time: another object replaces it."""

SYNONYMS = {
    word: group.split()[0]
    for group in (
        "database db databases dbs",
        "configuration config configs cfg conf settings",
        "repository repo repos",
        "environment env envs",
        "directory dir dirs folder folders",
        "production prod",
        "development dev",
        "documentation docs doc",
        "application app apps",
        "pullrequest pr prs",
        "authentication auth authn",
        "authorization authz authorisation",
        "administrator admin admins",
        "kubernetes k8s",
        "postgresql postgres pg psql",
        "javascript js",
        "typescript ts",
        "python py",
        "message msg messages msgs",
        "maximum max maximal",
        "minimum min minimal",
        "average avg mean",
        "dependency dep deps dependencies",
        "parameter param params",
        "argument arg args",
        "function func fn",
        "variable var vars",
        "package pkg pkgs",
        "library lib libs",
        "repair fix fixed fixes repaired",
        "remove delete deleted deletes removed removes",
        "error errors exception exceptions",
        "before prior ahead",
        "reset wiped wipe rebuilt recreated wipes resets",
        "talk communicate speak talks communicates speaks communicating talking",
        "answer reply answers replies response responses",
        "build compile builds compiles compiled built",
        "quick fast rapid quickly",
        "create make creates created",
        "launch spawn start starts begin begins launches",
        "hand manual manually",
        "email mail emails mails",
        "picture image images pictures",
        "limit cap limited capped limits",
        "entry record entries records row rows",
        "job task jobs tasks",
        "engineer developer developers engineers",
        "store save stores stored saves saved persist persisted",
    )
    for word in group.split()
}
"""Words that stand for the first of their group."""

NUMBERS = {
    word: str(value)
    for value, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve".split()
    )
    if value > 1
} | {"twice": "2", "thrice": "3", "hundred": "100", "thousand": "1000"}

_SECONDS = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0, "mo": 2592000.0}
_TIME_NAMES = {
    "ms": "ms msec millisecond milliseconds",
    "s": "s sec secs second seconds",
    "min": "min mins minute minutes",
    "h": "h hr hrs hour hours",
    "d": "d day days",
    "w": "w week weeks",
    "mo": "month months",
}
_SIZES = {
    "b": 1.0,
    "kb": 1e3,
    "mb": 1e6,
    "gb": 1e9,
    "tb": 1e12,
    "kib": 1024.0,
    "mib": 1048576.0,
    "gib": 1073741824.0,
}
_SIZE_NAMES = {
    "b": "byte bytes",
    "kb": "kb k",
    "mb": "mb",
    "gb": "gb",
    "tb": "tb",
    "kib": "kib",
    "mib": "mib",
    "gib": "gib",
}

UNITS: dict[str, tuple[str, float]] = {
    **{name: ("time", _SECONDS[unit]) for unit, names in _TIME_NAMES.items() for name in names.split()},
    **{name: ("size", _SIZES[unit]) for unit, names in _SIZE_NAMES.items() for name in names.split()},
    **dict.fromkeys(("%", "percent", "pct"), ("share", 1.0)),
}
"""Units by name: (dimension, factor to its base: seconds, bytes, percent)."""
