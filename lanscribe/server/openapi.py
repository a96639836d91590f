"""What the HTTP side offers: as OpenAPI for programs, and as a page for people."""

from collections.abc import Iterable, Iterator
from html import escape
from typing import Any

from lanscribe import __version__

Json = dict[str, Any]

_INTRODUCTION = (
    "Speech to text for the home network. Live sound goes over WebSockets, such as"
    " ws://HOST:8000/v1/realtime, which OpenAPI cannot describe: docs/protocol.md does."
)
_OUTSIDE = {
    401: "the key is wrong, or has to be shown",
    403: "the address, host or origin may not come in",
    429: "the address has shown too many wrong keys; come again",
}
_ERRORS = {
    400: "a field, or the file, is not what it should be; the message says what was got",
    408: "nothing more of the upload came, or it was slow while another waited for its place",
    413: "the upload is larger than limits.upload_bytes, or took longer than limits.session_s, or"
    " has more sound than its bytes can hold",
    500: "the engine, or the server, failed",
    503: "as many sessions run as the machine holds, or the engine is loading; come again",
    507: "the server's disk is full",
}
_FILE_KINDS = "audio/wav, audio/flac, audio/ogg, audio/mpeg, audio/mp4, audio/webm, video/mp4"
_NUMBER: Json = {"type": "number", "minimum": 0}
_COUNT: Json = {"type": "integer", "minimum": 0}
_TEXT: Json = {"type": "string"}
_EVENT: Json = {
    "contentMediaType": "application/json",
    "description": "transcript.text.delta, then transcript.text.done; or error",
}
_STYLE = """
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; width: 100% }
th, td { border: 1px solid #8888; padding: .3rem .6rem; text-align: left; vertical-align: top }
code, pre { font-family: ui-monospace, monospace } pre { overflow-x: auto; padding: 1rem }
:root { color-scheme: light dark }
"""
_EXAMPLE = "curl http://HOST:8000/v1/audio/transcriptions -F file=@speech.m4a -F model=any"


def description() -> Json:
    """The interface in OpenAPI 3.1."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "lanscribe", "version": __version__, "description": _INTRODUCTION},
        "paths": {
            "/v1/audio/transcriptions": {"post": _transcriptions()},
            "/v1/models": {
                "get": _operation("List the one model", _listed("Model"), errors=[503]),
            },
            "/v1/models/{model}": {
                "get": {
                    "summary": "Show a model",
                    "parameters": [
                        {"name": "model", "in": "path", "required": True, "schema": _TEXT}
                    ],
                    "responses": _show_model_responses(),
                },
            },
            "/health": {"get": _health()},
        },
        "components": {"schemas": _schemas()},
    }


def page(described: Json) -> str:
    """The description as one HTML document that needs nothing from elsewhere."""
    info = described["info"]
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width">',
        f"<title>{escape(info['title'])}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{escape(info['title'])} {escape(info['version'])}</h1>",
        f"<p>{escape(info['description'])}</p>",
        f"<pre>{escape(_EXAMPLE)}</pre>",
        '<p>For programs: <a href="/openapi.json">/openapi.json</a></p>',
    ]
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            parts += _shown(f"{method.upper()} {path}", operation)
    return "\n".join([*parts, "</body></html>", ""])


def _shown(name: str, operation: Json) -> Iterator[str]:
    yield f"<h2><code>{escape(name)}</code></h2><p>{escape(operation['summary'])}.</p>"
    form = operation.get("requestBody", {}).get("content", {}).get("multipart/form-data")
    if form:
        schema = form["schema"]
        rows = [
            (key, _kind(value), "yes" if key in schema["required"] else "", value["description"])
            for key, value in schema["properties"].items()
        ]
        yield from _table(("field", "type", "needed", "meaning"), rows)
    answers = [
        (status, ", ".join(answer.get("content", {})), answer["description"])
        for status, answer in operation["responses"].items()
    ]
    yield from _table(("status", "content", "meaning"), answers)


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    yield "<table><tr>" + "".join(f"<th>{escape(cell)}</th>" for cell in head) + "</tr>"
    for row in rows:
        yield "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>"
    yield "</table>"


def _kind(schema: Json) -> str:
    if "enum" in schema:
        return " | ".join(schema["enum"])
    if "items" in schema:
        return f"any of {_kind(schema['items'])}"
    return "file" if schema.get("format") == "binary" else str(schema["type"])


def _transcriptions() -> Json:
    text = {"schema": _TEXT}
    lost = "for text, srt and vtt: what was not transcribed, such as 12.000-18.500, 30.000-31.200"
    cause = "for text, srt and vtt: why there is no text, such as quiet; level_dbfs=-52.3"
    answer = {
        "description": "the transcript; its kind goes by response_format and stream",
        "headers": {
            "Lanscribe-Lost": {"schema": _TEXT} | _meaning(lost),
            "Lanscribe-No-Speech": {"schema": _TEXT} | _meaning(cause),
        },
        "content": {
            "application/json": {
                "schema": {"anyOf": [_ref("VerboseTranscript"), _ref("Transcript")]}
            },
            "text/plain": text,
            "application/x-subrip": text,
            "text/vtt": text,
            "text/event-stream": {"schema": _object(data=_TEXT | _EVENT)},
        },
    }
    form = {"schema": _form(), "encoding": {"file": {"contentType": _FILE_KINDS}}}
    return {
        "operationId": "createTranscription",
        "summary": "Transcribe a file, as OpenAI's clients ask for it",
        "requestBody": {"required": True, "content": {"multipart/form-data": form}},
        "responses": {"200": answer} | _refusals(_ERRORS),
    }


def _form() -> Json:
    formats = ["json", "text", "srt", "vtt", "verbose_json"]
    fields: Json = {
        "file": {"type": "string", "format": "binary"}
        | _meaning("the recording: WAV, FLAC, Ogg, Opus, MP3, AIFF, M4A, MP4, WebM and more"),
        "model": _TEXT | _meaning("any name; the one model that is served answers"),
        "response_format": {"type": "string", "enum": formats}
        | _meaning("json unless something else is said; with stream json or text"),
        "timestamp_granularities[]": {
            "type": "array",
            "items": {"type": "string", "enum": ["word", "segment"]},
        }
        | _meaning("which times verbose_json has; segment unless something else is said"),
        "stream": {"type": "boolean"}
        | _meaning("server-sent events while the file is heard, instead of one answer"),
        "language": _TEXT | _meaning("accepted; verbose_json says it again if the engine knows it"),
        "prompt": _TEXT | _meaning("accepted, without effect"),
        "temperature": {"type": "number", "minimum": 0, "maximum": 1}
        | _meaning("accepted, without effect"),
    }
    whole = {"properties": {"stream": {"const": False}}}
    streamed = {"properties": {"response_format": {"enum": formats[:2]}}}
    return {
        "type": "object",
        "required": ["file"],
        "properties": fields,
        "anyOf": [whole, streamed],
    }


def _health() -> Json:
    reason = {"type": ["string", "null"]}
    loading = _object(status={"const": "loading"}, server=_TEXT, reason=reason)
    operation = _operation("Say whether sessions are served", _ref("Health"), errors=[])
    operation["responses"]["503"] = _answer("the engine is loading", loading)
    return operation


def _show_model_responses() -> Json:
    errors = {404: "it is not the model that is served", 503: _ERRORS[503]}
    return {"200": _answer("done", _ref("Model"))} | _refusals(errors)


def _schemas() -> Json:
    word = _object(word=_TEXT, start=_NUMBER, end=_NUMBER)
    segment = _object(
        id=_COUNT,
        start=_NUMBER,
        end=_NUMBER,
        text=_TEXT,
        seek=_COUNT,
        tokens={"type": "array", "items": {"type": "integer"}},
        temperature={"type": "number"},
        avg_logprob={"type": "number"},
        compression_ratio={"type": "number"},
        no_speech_prob={"type": "number"},
    )
    usage = _object(type={"const": "duration"}, seconds=_NUMBER)
    verbose = _object(
        task={"const": "transcribe"}, language=_TEXT, duration=_NUMBER, text=_TEXT, usage=usage
    )
    verbose["properties"] |= {
        "words": {"type": "array", "items": word},
        "segments": {"type": "array", "items": segment},
    }
    lost = {"type": "array", "items": _object(start=_NUMBER, end=_NUMBER)}
    no_speech = _object(code={"enum": ["zeros", "quiet", "no_speech"]})
    no_speech["properties"]["level_dbfs"] = {"type": "number", "maximum": 0}
    told = {"lost": lost, "no_speech": no_speech}
    verbose["properties"] |= told
    transcript = _object(text=_TEXT, usage=usage)
    transcript["properties"] |= told
    error = _object(
        message=_TEXT,
        type={"enum": ["invalid_request_error", "server_error"]},
        param={"type": ["string", "null"]},
        code=_TEXT,
    )
    error["properties"] |= {"text": _TEXT, "duration": _NUMBER, "lost": lost}
    return {
        "Transcript": transcript,
        "VerboseTranscript": verbose,
        "Model": _object(
            id=_TEXT,
            object={"const": "model"},
            created=_COUNT,
            owned_by=_TEXT,
            languages={"type": "array", "items": _TEXT},
        ),
        "Health": _object(
            status={"const": "ok"},
            server=_TEXT,
            engine=_TEXT,
            model=_TEXT,
            sessions=_COUNT,
            capacity=_COUNT,
        ),
        "Error": _object(error=error),
    }


def _operation(summary: str, schema: Json, *, errors: list[int]) -> Json:
    refusals = _refusals({status: _ERRORS[status] for status in errors})
    return {"summary": summary, "responses": {"200": _answer("done", schema)} | refusals}


def _refusals(meanings: dict[int, str]) -> Json:
    return {
        str(status): _answer(meaning, _ref("Error"))
        for status, meaning in (_OUTSIDE | meanings).items()
    }


def _answer(meaning: str, schema: Json) -> Json:
    return {"description": meaning, "content": {"application/json": {"schema": schema}}}


def _listed(name: str) -> Json:
    return _object(object={"const": "list"}, data={"type": "array", "items": _ref(name)})


def _object(**properties: Json) -> Json:
    return {"type": "object", "required": list(properties), "properties": properties}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _meaning(text: str) -> Json:
    return {"description": text}
