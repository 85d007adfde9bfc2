"""The secure ingress, asked from outside the cluster: TLS, client certificates, tokens.

Every request is made three times in turn with the others, so that each refusal stands beside a request that
passed on the same way. Nothing is asked again.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Sequence

from meshlab.app.bookinfo import PAGE_PATH, PAGE_TITLE
from meshlab.checks.base import broken, judged
from meshlab.run.results import CheckResult
from meshlab.security.gateways.client import CLOSED, OLD, TLS_ALERT, Reply, can_speak, trusting
from meshlab.security.gateways.entry import IngressProbe
from meshlab.security.gateways.ingress import MUTUAL, SECURE, TOKEN
from meshlab.security.gateways.tokens import TokenCase
from meshlab.security.gateways.trials import Answer, Trial, Tried, in_turn, problems, rows

STRANGE = "strange.meshlab.test"  # a name that no gateway of ours serves
TITLE = re.compile(r"<title>\s*(.*?)\s*</title>", re.DOTALL)
PAGE = f"200 {PAGE_TITLE!r}"
REFUSED = "refused"
REMEDY = "compare the Gateway, its Secrets and `istioctl proxy-config listener` of the gateway's pod"


def https(entry: IngressProbe, check_id: str = "ingress.https") -> CheckResult:
    """Check own authority, right name, TLS 1.2 and up, plain HTTP redirected.

    Args:
        entry: The open gateway, Istio's own or one by Gateway API.
        check_id: Of the check that is made.

    Returns:
        The check. Evidence: `requests` (every case with its control), `certificate`, `tls` (version → cipher).
    """
    ours = trusting(entry.keys.authority)
    capable = can_speak(OLD)
    replies: list[Reply] = []

    def page(context: ssl.SSLContext) -> Answer:
        replies.append(entry.get(SECURE, PAGE_PATH, context))
        return _page(replies[-1])

    strange = trusting(entry.keys.authority, any_name=True)
    old = trusting(entry.keys.authority, only=OLD)
    least = trusting(entry.keys.authority, only=ssl.TLSVersion.TLSv1_2)
    url, target = f"https://{SECURE}{PAGE_PATH}", f"301 https://{SECURE}{PAGE_PATH}"
    tried = in_turn([
        Trial("own authority, right name", f"GET {url}", PAGE, lambda: page(ours)),
        Trial("TLS 1.2 only", f"GET {url}", PAGE, lambda: page(least)),
        Trial(
            "TLS 1.1 only", f"GET {url}", REFUSED,
            lambda: _refused(entry.get(SECURE, PAGE_PATH, old)),
            control="TLS 1.2 only, and the same client speaks TLS 1.1 with a server of ours",
        ),
        Trial(
            "another server name", f"GET {url}, SNI {STRANGE}", REFUSED,
            lambda: _refused(entry.get(SECURE, PAGE_PATH, strange, server_name=STRANGE)),
            control="own authority, right name",
        ),
        Trial(
            "plain HTTP", f"GET http://{SECURE}{PAGE_PATH}", target,
            lambda: _redirect(entry.get_plain(SECURE, PAGE_PATH), target),
        ),
    ])  # fmt: skip
    seen = {reply.tls: reply.cipher for reply in replies if reply.tls}
    evidence = {
        "requests": rows(tried),
        "certificate": _certificate(replies),
        "tls": seen,
        "control: this client's TLS 1.1": capable,
    }
    wrong = problems(tried)
    if not wrong and capable != "TLSv1.1":
        why = f"this client does not speak TLS 1.1 even with a server of ours ({capable})"
        return broken(check_id, why, evidence, remedy="use a Python whose OpenSSL offers TLS 1.1")
    summary = (
        f"{_sum(tried)}; {', '.join(sorted(seen))}; TLS 1.1 and another name refused; HTTP gets {target}"
    )
    return judged(check_id, wrong, summary, evidence, remedy=REMEDY)


def mtls(entry: IngressProbe, check_id: str = "ingress.mtls") -> CheckResult:
    """Check that a client certificate is required, and that it must be of the right authority.

    Args:
        entry: The open gateway, Istio's own or one by Gateway API.
        check_id: Of the check that is made.

    Returns:
        The check. Evidence: `requests`.
    """
    known, nobody, stranger = (
        trusting(entry.keys.authority, client=client)
        for client in (entry.keys.client, None, entry.keys.stranger)
    )
    url = f"GET https://{MUTUAL}{PAGE_PATH}"

    def get(context: ssl.SSLContext) -> Reply:
        return entry.get(MUTUAL, PAGE_PATH, context)

    control = "client certificate"
    tried = in_turn([
        Trial(control, url, PAGE, lambda: _page(get(known))),
        Trial("no client certificate", url, REFUSED, lambda: _refused(get(nobody)), control),
        Trial(
            "certificate of another authority", url, REFUSED, lambda: _refused(get(stranger)), control
        ),
    ])  # fmt: skip
    summary = f"{_sum(tried)}; without a certificate and with one of another authority refused"
    return judged(check_id, problems(tried), summary, {"requests": rows(tried)}, remedy=REMEDY)


def tokens(entry: IngressProbe, check_id: str = "ingress.jwt") -> CheckResult:
    """Check each kind of token and its answer.

    Args:
        entry: The open gateway, Istio's own or one by Gateway API.
        check_id: Of the check that is made.

    Returns:
        The check. Evidence: `requests`; no token is in it.
    """
    context = trusting(entry.keys.authority)

    def trial(case: TokenCase) -> Trial:
        headers = {"Authorization": f"Bearer {case.token}"} if case.token else {}
        good = case.status == 200

        def get() -> Answer:
            reply = entry.get(TOKEN, PAGE_PATH, context, headers=headers)
            return _page(reply) if good else _status(reply, case.status)

        expected = PAGE if good else str(case.status)
        control = "" if good else "valid token"
        return Trial(f"{case.name} ({case.why})", f"GET https://{TOKEN}{PAGE_PATH}", expected, get, control)

    cases = entry.issuer.cases()
    tried = in_turn([trial(case) for case in cases])
    told = ", ".join(f"{case.name} {case.status}" for case in cases)
    evidence = {"requests": rows(tried), "issuer": entry.issuer.name, "audience": entry.issuer.audience}
    return judged(
        check_id,
        problems(tried),
        f"{_sum(tried)}; {told}",
        evidence,
        remedy="compare the RequestAuthentication and AuthorizationPolicy of the gateway; istiod's log tells "
        "whether it could fetch the key set",
    )


def _page(reply: Reply) -> Answer:
    if reply.status is None:
        return Answer(reply.refusal, False)
    title = TITLE.search(reply.body)
    text = f"{reply.status} {title[1]!r}" if title else f"{reply.status} without a title"
    return Answer(text, text == PAGE)


def _status(reply: Reply, expected: int) -> Answer:
    return Answer(str(reply.status) if reply.status else reply.refusal, reply.status == expected)


def _redirect(reply: Reply, target: str) -> Answer:
    text = f"{reply.status} {reply.location}".strip() if reply.status else reply.refusal
    return Answer(text, text == target)


def _refused(reply: Reply) -> Answer:
    if reply.status is not None:
        return Answer(f"{reply.status} over {reply.tls}", False)
    by_gateway = reply.refusal.startswith((CLOSED, TLS_ALERT))
    return Answer(f"{REFUSED}: {reply.refusal}" if by_gateway else reply.refusal, by_gateway)


def _sum(tried: Sequence[Tried]) -> str:
    return (
        f"{sum(each.as_expected for each in tried)} of {sum(len(each.answers) for each in tried)} as expected"
    )


def _certificate(replies: Sequence[Reply]) -> dict[str, str]:
    """What the gateway showed: names, who signed it, until when. Public by nature."""
    shown = next((reply.certificate for reply in replies if reply.certificate), {})

    def name(part: str) -> str:
        return ", ".join(value for group in shown.get(part, ()) for _, value in group)

    names = ", ".join(value for _, value in shown.get("subjectAltName", ()))
    return {"names": names, "issuer": name("issuer"), "until": str(shown.get("notAfter", ""))}
