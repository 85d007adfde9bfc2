"""The pages as HTML, one file each: no script, picture or style sheet is loaded from anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

TITLE = "Simple Bookstore App"
STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;margin:0;color:#1f2937}nav{background:#1f2937;color:#fff;"
    "padding:1rem 2rem;display:flex;justify-content:space-between}nav a{color:#9ca3af}"
    "main{max-width:60rem;margin:2rem auto;padding:0 1rem}h1{color:#1e3a8a}"
    "table{border-collapse:collapse}td,th{padding:.4rem .8rem;"
    "border:1px solid #d1d5db;text-align:left}.red{color:#dc2626}.black{color:#111}.served{color:#6b7280;"
    "font-family:monospace}"
)
COLUMNS = (("ISBN-10", "ISBN-10"), ("Publisher", "publisher"), ("Pages", "pages"), ("Type", "type"),
           ("Language", "language"))  # fmt: skip
Answer = tuple[int, Any]


def index(urls: Mapping[str, str]) -> str:
    """The start page: what the services are, and links for a normal and a test user."""
    rows = "".join(f"<tr><td>{escape(name)}</td><td>{escape(url)}</td></tr>" for name, url in urls.items())
    return _document(
        "<h3>Hello! This is a simple bookstore application consisting of the services below</h3>"
        f"<table><tr><th>service</th><th>address</th></tr>{rows}</table>"
        '<ul><li><a href="/productpage?u=normal">Normal user</a></li>'
        '<li><a href="/productpage?u=test">Test user</a></li></ul>',
        "",
    )


def product(book: Mapping[str, Any], details: Answer, reviews: Answer, user: str) -> str:
    """The book's page. details, reviews: the status and the document that the service gave."""
    parts = (
        f"<h1>{escape(book['title'])}</h1><p>{book['descriptionHtml']}</p>",
        _details(*details),
        _reviews(*reviews),
    )
    return _document("".join(parts), user)


def _document(body: str, user: str) -> str:
    if user:
        session = f'<span>{escape(user)} (<a href="logout">Sign out</a>)</span>'
    else:
        session = (
            '<form method="post" action="login"><input name="username" required placeholder="Username"> '
            "<button>Sign in</button></form>"
        )
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{TITLE}</title>'
        f"<style>{STYLE}</style></head><body><nav><b>BookInfo Sample</b>{session}</nav>"
        f"<main>{body}</main></body></html>\n"
    )


def _details(status: int, document: Mapping[str, Any]) -> str:
    if status != 200:
        return _sorry("Error fetching product details", document)
    heads = "".join(f"<th>{title}</th>" for title, _ in COLUMNS)
    cells = "".join(f"<td>{escape(str(document.get(key, '')))}</td>" for _, key in COLUMNS)
    return f"<h4>Book Details</h4><table><tr>{heads}</tr><tr>{cells}</tr></table>"


def _reviews(status: int, document: Mapping[str, Any]) -> str:
    if status != 200:
        return _sorry("Error fetching product reviews", document)
    served = f"Reviews served by: {escape(str(document.get('podname')))}"
    if document.get("clustername") not in (None, "null"):
        served += f" on cluster {escape(str(document['clustername']))}"
    listed = "".join(
        f"<section>{_stars(review.get('rating'))}<blockquote>&quot;{escape(review['text'])}&quot;</blockquote>"
        f'<p>{escape(review["reviewer"])} <span class="served">{served}</span></p></section>'
        for review in document.get("reviews", ())
    )
    return f"<h4>Book Reviews</h4>{listed}"


def _stars(rating: Mapping[str, Any] | None) -> str:
    if not rating:
        return ""
    if "stars" not in rating:
        return f'<p class="red">{escape(str(rating.get("error")))}</p>'
    full = min(max(int(rating["stars"]), 0), 5)
    star = '<span class="glyphicon glyphicon-star">★</span>'
    return f'<div class="{escape(str(rating.get("color")))}">{star * full}{"☆" * (5 - full)}</div>'


def _sorry(text: str, document: Mapping[str, Any]) -> str:
    return f'<p class="red">{text}</p><p>{escape(str(document.get("error", "")))}</p>'
