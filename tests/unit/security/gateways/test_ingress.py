import base64

from meshlab.istio.mesh import INGRESS, Gateway, Mesh
from meshlab.security.gateways import ingress
from meshlab.security.gateways.ingress import HOSTS, MUTUAL, SECURE, TOKEN
from meshlab.security.gateways.pki import make_keys
from meshlab.security.gateways.tokens import Issuer

MESH = Mesh(
    "shop", cluster_domain="pasta.local", gateways=(Gateway("istio-ingressgateway", "edge", INGRESS),)
)
KEYS, ISSUER = make_keys(*HOSTS), Issuer()


def documents(kind: str, made: list[dict] | None = None) -> list[dict]:
    return [each for each in made or ingress.documents(MESH, KEYS, ISSUER) if each["kind"] == kind]


def test_each_host_is_served_alone_with_its_own_secret_and_tls_1_2_at_least() -> None:
    made = ingress.documents(MESH, KEYS, ISSUER)
    (gateway,) = documents("Gateway", made)
    plain, *tls = gateway["spec"]["servers"]
    assert plain["tls"] == {"httpsRedirect": True} and plain["hosts"] == list(HOSTS)
    assert [server["hosts"] for server in tls] == [[host] for host in HOSTS]
    assert {server["tls"]["minProtocolVersion"] for server in tls} == {"TLSV1_2"}
    modes = {server["hosts"][0]: server["tls"]["mode"] for server in tls}
    assert modes == {SECURE: "SIMPLE", MUTUAL: "MUTUAL", TOKEN: "SIMPLE"}
    assert len({server["port"]["name"] for server in gateway["spec"]["servers"]}) == 4
    secrets = {each["metadata"]["name"] for each in documents("Secret", made)}
    assert {server["tls"]["credentialName"] for server in tls} == secrets


def test_secrets_stand_beside_the_gateway_and_only_one_names_whom_to_accept() -> None:
    secrets = documents("Secret")
    beside = [*secrets, *documents("RequestAuthentication"), *documents("AuthorizationPolicy")]
    assert {each["metadata"]["namespace"] for each in beside} == {"edge"}
    authorities = [each["data"]["ca.crt"] for each in secrets if "ca.crt" in each["data"]]
    assert [base64.b64decode(each) for each in authorities] == [KEYS.clients_authority]


def test_another_run_has_other_secrets() -> None:
    first, second = (
        {each["metadata"]["name"] for each in documents("Secret")},
        {each["metadata"]["name"] for each in documents("Secret")},
    )
    assert not first & second


def test_one_host_is_denied_without_a_token_and_only_where_tls_comes_in() -> None:
    (policy,) = documents("AuthorizationPolicy")
    assert policy["spec"]["action"] == "DENY"
    (rule,) = policy["spec"]["rules"]
    (operation,) = (each["operation"] for each in rule["to"])
    assert operation["hosts"] == [TOKEN, f"{TOKEN}:*"]
    assert operation["ports"]
    assert rule["from"] == [{"source": {"notRequestPrincipals": ["*"]}}]


def test_the_policy_asks_where_this_run_s_key_is_served() -> None:
    (asked,) = documents("RequestAuthentication")
    (rule,) = asked["spec"]["jwtRules"]
    path = ingress.jwks_path(ISSUER)
    assert rule["jwksUri"] == f"http://meshlab-jwks.shop.svc.pasta.local{path}"
    assert ISSUER.key_id in path
    (config, *_) = ingress.key_server("shop", "proxy:1", ISSUER)
    assert path in config["data"]["envoy.json"]


def test_only_the_product_page_is_routed() -> None:
    (service,) = documents("VirtualService")
    (route,) = service["spec"]["http"]
    assert route["match"] == [{"uri": {"exact": "/productpage"}}]
    assert service["spec"]["hosts"] == list(HOSTS)
