"""The OpenAPI document as a page: rendered here, once, with nothing from elsewhere and no script.

Reads the document alone, so that the page cannot say anything else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from shlex import quote
from typing import Any, Final

from windlass.wire.codec import encode_view
from windlass.wire.problems import MEDIA_TYPE, STATUSES

Node = Mapping[str, Any]

_ADDRESS: Final = "http://127.0.0.1:8080"
_METHODS: Final = ("get", "post", "put", "patch", "delete")


def render_docs(document: Node) -> bytes:
    """Render the page."""
    groups: dict[str, list[str]] = {}
    links: dict[str, list[str]] = {}
    for path, operations in document["paths"].items():
        for method in _METHODS:
            if (operation := operations.get(method)) is None:
                continue
            tag = operation["tags"][0]
            groups.setdefault(tag, []).append("".join(_operation(document, method, path, operation)))
            links.setdefault(tag, []).append(_link(method, path, operation))
    body = "".join(f"<h2>{_text(tag)}</h2>{''.join(parts)}" for tag, parts in groups.items())
    menu = "".join(f"<p>{_text(tag)}</p><ul>{''.join(parts)}</ul>" for tag, parts in links.items())
    info = document["info"]
    return _PAGE.format(
        title=_text(f"{info['title']} {info['version']}: the API"),
        heading=_text(info["title"]),
        version=_text(info["version"]),
        description=_prose(info["description"]),
        menu=menu,
        body=body,
        shapes=_shapes(document),
        problems=_problems(),
    ).encode()


_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<link rel="stylesheet" href="/docs/style.css">
</head>
<body>
<header>
<h1>{heading} <small>{version}</small></h1>
<p>{description}</p>
<p><a href="/openapi.json">openapi.json</a> · <a href="#shapes">shapes</a> · <a href="#problems">problems</a></p>
</header>
<nav aria-label="Routes">{menu}</nav>
<main>{body}
<h2 id="shapes">shapes</h2>{shapes}
<h2 id="problems">problems</h2>
<p>Every error of the native API is <code>application/problem+json</code>: its <code>code</code> never changes, its
<code>type</code> leads here, its <code>request_id</code> finds it in the server's log. Errors of the dialects are a
sentence.</p>
<div class="wide"><table><thead><tr><th>code</th><th>status</th><th>meaning</th></tr></thead>
<tbody>{problems}</tbody></table></div>
</main>
</body>
</html>
"""


def _operation(document: Node, method: str, path: str, operation: Node) -> Iterator[str]:
    yield f'<section id="{_text(operation["operationId"])}">'
    yield f'<h3><b class="{method}">{method.upper()}</b> <code>{_text(path)}</code></h3>'
    yield f"<p>{_prose(operation['summary'])}. <small>scope: {_text(operation['x-scope'])}</small></p>"
    if operation["parameters"]:
        rows = [_parameter(document, parameter) for parameter in operation["parameters"]]
        yield _table("parameter", rows)
    if (body := operation.get("requestBody")) is not None:
        schema = _resolve(document, body["content"]["application/json"]["schema"])
        rows = list(_fields(document, schema))
        caption = "body field" if body["required"] else "body field (the body may be left out)"
        yield _table(caption, rows) if rows else "<p>No body, or <code>{}</code>.</p>"
    yield "<dl>"
    problems: list[str] = []
    for status, response in operation["responses"].items():
        if MEDIA_TYPE in response.get("content", {}) or _is_short(response):
            problems.append(f'<span title="{_text(response["description"])}">{_text(status)}</span>')
        else:
            yield f"<dt>{_text(status)}</dt><dd>{_prose(response['description'])}{_content(response)}</dd>"
    yield f'<dt>errors</dt><dd>{" ".join(problems)} <a href="#problems">problems</a></dd>'
    yield f"</dl><pre><code>{_text(_curl(method, path, operation))}</code></pre></section>"


def _link(method: str, path: str, operation: Node) -> str:
    target = _text(operation["operationId"])
    return f'<li><a href="#{target}"><b class="{method}">{method.upper()}</b> <code>{_text(path)}</code></a></li>'


def _parameter(document: Node, parameter: Node) -> tuple[str, str, str]:
    schema = parameter["schema"]
    notes = [parameter.get("description", ""), schema.get("description", "")]
    if "default" in schema and schema["default"] is not None:
        notes.append(f"default `{schema['default']}`")
    if "example" in parameter:
        notes.append(f"for example `{parameter['example']}`")
    place = parameter["in"] + (", needed" if parameter.get("required") else "")
    return parameter["name"], f"{_kind(document, schema)} ({place})", "; ".join(note for note in notes if note)


def _fields(document: Node, schema: Node) -> Iterator[tuple[str, str, str]]:
    needed = schema.get("required", [])
    for name, field in schema.get("properties", {}).items():
        notes = [note["description"] for note in (field, *field.get("anyOf", [])) if "description" in note]
        if name in needed:
            notes.insert(0, "needed")
        elif field.get("default") not in (None, {}, []):
            notes.append(f"default `{field['default']}`")
        yield name, _kind(document, field), "; ".join(notes)


def _table(caption: str, rows: list[tuple[str, str, str]]) -> str:
    lines = "".join(
        f"<tr><th><code>{_text(name)}</code></th><td>{_prose(kind)}</td><td>{_prose(note)}</td></tr>"
        for name, kind, note in rows
    )
    head = f"<thead><tr><th>{_text(caption)}</th><th>type</th><th></th></tr></thead>"
    return f'<div class="wide"><table>{head}<tbody>{lines}</tbody></table></div>'


def _shapes(document: Node) -> str:
    parts: list[str] = []
    for name, schema in document["components"]["schemas"].items():
        parts.append(f'<section id="shape-{_text(name)}"><h3><code>{_text(name)}</code></h3>')
        parts.append(f"<p>{_prose(schema.get('description', ''))}</p>")
        if "enum" in schema:
            parts.append(f"<p>{' '.join(f'<code>{_text(str(word))}</code>' for word in schema['enum'])}</p>")
        elif rows := list(_fields(document, schema)):
            parts.append(_table("field", rows))
        parts.append("</section>")
    return "".join(parts)


def _problems() -> str:
    return "".join(
        f'<tr id="problem-{code}"><th><code>{code}</code></th><td>{status}</td><td>{_text(title)}</td></tr>'
        for code, (status, title) in STATUSES.items()
    )


def _resolve(document: Node, schema: Node) -> Node:
    return document["components"]["schemas"][_name(schema)] if "$ref" in schema else schema


def _name(schema: Node) -> str:
    return schema["$ref"].rpartition("/")[2]


def _kind(document: Node, schema: Node) -> str:
    """Say in a few words what values a schema takes."""
    if "$ref" in schema:
        words = _resolve(document, schema).get("enum")
        return " or ".join(f"`{word}`" for word in words) if words else f"`{_name(schema)}`"
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_kind(document, variant) for variant in schema["anyOf"]))
    if "enum" in schema:
        return " or ".join(f"`{word}`" for word in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_kind(document, schema.get('items', {}))}"
    bounds = "".join(
        f" {sign} {schema[key]:g}"
        for key, sign in (("minimum", "≥"), ("maximum", "≤"), ("maxLength", "up to"), ("maxProperties", "up to"))
        if key in schema
    )
    form = f" ({schema['format']})" if "format" in schema else ""
    return (schema.get("type") or "any JSON") + form + bounds


def _is_short(response: Node) -> bool:
    """Whether it is the sentence with which a dialect says what is wrong."""
    contents = response.get("content", {}).values()
    return any(content["schema"].get("$ref", "").endswith("/ShortError") for content in contents)


def _content(response: Node) -> str:
    for media, content in response.get("content", {}).items():
        schema = content["schema"]
        if "$ref" in schema:
            return f' <a href="#shape-{_text(_name(schema))}"><code>{_text(_name(schema))}</code></a>'
        return f" <code>{_text(media)}</code>"
    return ""


def _curl(method: str, path: str, operation: Node) -> str:
    """Spell a call of the route as a command that can be pasted."""
    words = ["curl", "-s" if method == "get" else f"-s -X {method.upper()}"]
    words += [
        f"-H {quote(parameter['name'] + ': ' + parameter['example'])}"
        for parameter in operation["parameters"]
        if parameter["name"] in ("Prefer", "Range")
    ]
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    for example in list(content.get("examples", {}).values())[:1]:
        words += ["-H 'Content-Type: application/json'", f"-d {quote(encode_view(example['value']).decode())}"]
    for name, example in (("{id}", "17"), ("{name}", "a.iso"), ("{queue}", "reports")):
        path = path.replace(name, example)
    return " ".join([*words, _ADDRESS + path])


def _text(value: str) -> str:
    return escape(value)


def _prose(text: str) -> str:
    """Escape, and set what stands between backticks as code."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if index % 2 else part for index, part in enumerate(parts))
