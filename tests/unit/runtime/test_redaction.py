"""What is taken out of texts, and what must stay readable."""

import time

import pytest

from engram_runtime.redaction import head, redact, redact_event, tail
from engram_tui.agents.tool_calls import excerpt

pytestmark = pytest.mark.guarantee("G7")

A40 = "a8Fk2LmQ9xZr4TbV7cYd1WnS6eGh3JpU5oKi0MqX"
HEX40 = "3f786850e387550fdab836ed7e6dc881de23001b"

SECRETS = [
    ("Authorization: Bearer " + A40, A40),
    ("curl -H 'Authorization: Bearer " + A40 + "' https://x.example", A40),
    ("authorization: Basic dXNlcjpodW50ZXIyMg==", "dXNlcjpodW50ZXIyMg=="),
    ('headers = {"Authorization": "' + A40 + '"}', A40),
    ("key is sk-ant-" + "api03-" + A40, A40),
    ("OPENAI_API_KEY=sk-" + A40, A40),
    ("sk-proj-" + A40 + " works", A40),
    ("sk-" + A40[:20] + "T3BlbkFJ" + A40[:20], "T3BlbkFJ"),
    ("token ghp_" + A40[:36], A40[:36]),
    ("github_pat_" + A40 + "_" + A40, A40),
    ("gho_" + A40[:36], A40[:36]),
    ("glpat-" + A40[:20], A40[:20]),
    ("AKIA" + "IOSFODNN7EXAMPLE", "IOSFODNN7EXAMPLE"),
    ("aws_secret_access_key = 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYzzzzzzzzKEY'", "wJalrXUtnFEMI"),
    ("eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxMjM0NTY3ODkwIn0." + A40, A40),
    ("postgres://app:s3cr3tpw@db.example:5432/app", "s3cr3tpw"),
    ("redis://:p4ssw0rd@localhost:6379", "p4ssw0rd"),
    ("git clone https://oauth2:" + A40[:24] + "@git.example/x.git", A40[:24]),
    ("-----BEGIN RSA PRIVATE KEY-----\nMIIEow" + A40 + "\n-----END RSA PRIVATE KEY-----", A40),
    ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNz" + A40 + "\nabcd" + A40, A40),
    ("-----BEGIN PRIVATE KEY-----\\nMIIEv" + A40 + "\\n-----END PRIVATE KEY-----\\n", A40),
    ("DB_PASSWORD=correcthorse", "correcthorse"),
    ("export SECRET_KEY=" + A40, A40),
    ("STRIPE_TOKEN=tok_1a2b3c4d5e", "tok_1a2b3c4d5e"),
    ("password = 'hunter2!'", "hunter2!"),
    ('"password": "Tr0ub4dor&3"', "Tr0ub4dor&3"),
    ('{\\"api_key\\": \\"' + A40 + '\\"}', A40),
    ("password: hunter2", "hunter2"),
    ("api_key: " + A40, A40),
    ("client_secret=" + A40[:30], A40[:30]),
    ("const apiKey = `x`; const secret = '" + A40 + "'", A40),
    ("https://api.example/v1?access_token=" + A40, A40),
    ("mysql --password=Sup3rGeheim db", "Sup3rGeheim"),
    ("tool --token " + A40[:16], A40[:16]),
    ("curl -u admin:S3same-open https://x.example", "S3same-open"),
    ("Cookie: session=" + A40, A40),
    ("sk_" + "live_" + A40[:24], A40[:24]),
    ("xoxb-" + "123456789012-123456789012-" + A40[:24].lower(), "123456789012-123456789012"),
    ("SG." + A40[:22] + "." + A40 + "abc", A40[:22]),
    ("npm_" + A40[:36], A40[:36]),
    ("//registry.example/:_authToken=npm_" + A40[:36], A40[:36]),
    ("hf_" + A40[:34], A40[:34]),
    ("AIza" + A40[:35], A40[:35]),
    ("bot 123456789:" + A40[:35], A40[:35]),
]

READABLE = [
    "def login(password: str, token: Optional[str] = None) -> Session:",
    "token = get_token()",
    "api_key = os.environ['API_KEY']",
    "password = request.form['password']",
    'password = os.getenv("DB_PASSWORD")',
    "self.token = token",
    "if password == expected_password:",
    "secret = settings.secret",
    "MAX_TOKENS=4096",
    "max_tokens: 8192, token_count: 1234567",
    "prompt_tokens=182000 completion_tokens=9000",
    "commit " + HEX40,
    "sha256:" + "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "id 550e8400-e29b-41d4-a716-446655440000",
    "index 83db48f..bf2a3e1 100644",
    "the password must have at least eight characters",
    "password: required",
    "Enter password: ",
    "API_KEY=${API_KEY}",
    "API_KEY=$OPENAI_KEY make test",
    "SECRET_KEY=<your key here>",
    "password=changeme",
    "PASSWORD=********",
    "secret: your-secret-here",
    'token: "{{ secrets.GITHUB_TOKEN }}"',
    "ssh-keygen -f ~/.ssh/id_ed25519",
    "private_key = /etc/ssl/private/server.key",
    "PRIVATE_KEY=./keys/dev.pem",
    "tests/test_token_refresh.py::test_expired_token PASSED",
    "the tokenizer splits at word boundaries; tokens: 12",
    "https://docs.example.com:8080/path?page=2#top",
    "git@github.com:owner/name.git",
    "ssh://git@host.example:22/name.git",
    "const key = keyboard.key; keydown => handler",
    "primary_key=True, foreign_key='users.id'",
    "for key, value in items.items(): cache_key = f'{key}:{value}'",
    "from sk-learn import metrics; task-management-dashboard-component",
    "fix: secret santa pairs nobody with themself",
    "class PasswordField(forms.CharField): widget = PasswordInput",
    "author: Ada Lovelace <ada@example.com>",
    "src/auth/credentials.py | 12 ++++----",
    "password_field = 'input[type=password]'",
    "integrity sha512-"
    + "v2kDEe57lecTulaDIuNTPy3Ry4gLGJ6Z1O3vE1krgXZNrsQ+LFTGHVxVjcXPs17LhbZVGedAJv8XZ1tvj5FvSg==",
    "s1sxf09ykq4c claude running, task 12, checkpoint v7 durable (PLAN_UPDATE)",
    "Bearer authentication is required",
    "--token TOKEN  the access token",
]


@pytest.mark.parametrize(("text", "secret"), SECRETS, ids=range(len(SECRETS)))
def test_a_secret_is_taken_out(text: str, secret: str) -> None:
    redacted = redact(f"before {text}\nafter")
    assert secret not in redacted
    assert "[redacted:" in redacted
    assert redacted.startswith("before ")


@pytest.mark.parametrize("text", READABLE, ids=range(len(READABLE)))
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert redact(f"before\n{text}\nafter") == f"before\n{text}\nafter"


@pytest.mark.parametrize("text", [text for text, _ in SECRETS], ids=range(len(SECRETS)))
def test_redacting_again_changes_nothing(text: str) -> None:
    assert redact(redact(text)) == redact(text)


def test_secrets_are_found_anywhere_in_a_payload() -> None:
    payload = {"metadata": {"api_key": A40, "n": 3, "deep": [{"note": "PASSWORD=geheim123"}]}, "ok": True}
    assert redact_event(payload) == {
        "metadata": {"api_key": "[redacted:key]", "n": 3, "deep": [{"note": "PASSWORD=[redacted:password]"}]},
        "ok": True,
    }


def test_what_no_file_can_hold_is_replaced() -> None:
    assert redact("a\0b \ud800 c") == "a\ufffdb \ufffd c"


def test_long_hostile_texts_take_time_in_proportion() -> None:
    for text in ("a.b-" * 10_000, "token" * 8_000, "password='" * 3_000, "A" * 40_000, '"' * 20_000):
        began = time.process_time()
        redact(text)
        assert time.process_time() - began < 1


def test_a_secret_that_a_cut_would_halve_goes_before_the_cut() -> None:
    secret = "gh" + "p_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"
    text = f"{'log line. ' * 40}token {secret} {'more words. ' * 400}{secret} end"
    for cut in (head(text, 420), tail(text, 30), excerpt(text, 860), head(f"{secret} fix it", 20)):
        assert secret[4:20] not in cut and secret[-16:] not in cut
    assert head("short", 10) == tail("short", 10) == "short"
