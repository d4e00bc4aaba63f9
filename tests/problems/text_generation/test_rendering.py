from __future__ import annotations

import threading

import pytest

from gyropilot.problems.text_generation.rendering import ChatTemplate, InvalidTemplate

SPECIAL = {"bos_token": "<s>", "eos_token": "</s>"}
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def render(source, text="hi"):
    return ChatTemplate(source).render([{"role": "user", "content": text}], SPECIAL)


def test_a_usual_template_renders():
    assert render(CHATML) == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"


def test_what_templates_use_is_there():
    source = (
        "{{ bos_token }}{%- set ns = namespace(n=0) -%}{%- for m in messages if m.role == 'user' -%}"
        "{%- set ns.n = ns.n + 1 -%}{%- if loop.last -%}{{ m['content'] | trim }}|{{ messages | tojson }}{%- endif -%}"
        "{%- break -%}{%- endfor -%}{% generation %}{{ eos_token }}{% endgeneration %}"
    )
    assert render(source, " é ") == '<s>é|[{"role": "user", "content": " é "}]</s>'


def test_undefined_names_are_false_and_tell_no_time():
    assert render("{% if tools %}x{% endif %}{{ strftime_now is defined }}{{ date_string is defined }}") == "FalseFalse"


def test_a_template_can_refuse_messages():
    with pytest.raises(InvalidTemplate, match="only system"):
        render("{{ raise_exception('only system') }}")


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.__class__.__base__ }}",
        "{{ raise_exception.__globals__['__builtins__'] }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{{ self.__init__.__globals__ }}",
        "{{ ''['__class__']['__mro__'] }}",
        "{{ (messages | attr('__class__')).__mro__ }}",
        "{{ range.__self__.eval('1') }}",
        "{{ '{0.__class__}'.format(1) }}",
        "{{ messages.append({}) }}",
        "{% include '/etc/passwd' %}",
        "{% import 'os' as os %}{{ os.environ }}",
        "{% extends '../../etc/passwd' %}",
    ],
)
def test_no_template_reaches_out(source):
    try:
        text = render(source)
    except InvalidTemplate:
        return
    assert text == "" or text.startswith("[{'role'")


@pytest.mark.parametrize(
    "source",
    [
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{% for a in 'aaaaaaaa' %}{% for b in 'aa' %}{% for c in range(9999) %}{% endfor %}{% endfor %}{% endfor %}",
        "{% macro f(n) %}{% if n > 0 %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(90) }}",
        "{% macro f(n) %}{{ f(n) }}{% endmacro %}{{ f(1) }}",
        "{% for m in messages recursive %}{{ loop(messages) }}{% endfor %}",
        "{% set _budget = 1 %}{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}",
    ],
)
def test_endless_loops_end(source):
    with pytest.raises(InvalidTemplate):
        render(source)


@pytest.mark.parametrize(
    "source",
    [
        "{{ 'a' * 10000000000 }}",
        "{{ 10 ** 9999999 }}",
        "{% set ns = namespace(x='aaaa') %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
        "{% set ns = namespace(x='aaaa') %}{% for i in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
        "{% set n = namespace(x='aaaa') %}{% for i in range(60) %}{% set n.x = n.x.replace('a', 'aa') %}{% endfor %}",
        "{% set n = namespace(x='aaaa') %}{% for i in range(60) %}{% set n.x = n.x|replace('a', 'aa') %}{% endfor %}",
        "{% set ns = namespace(x=['a']) %}{% for i in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
        "{% set ns = namespace(x=['a']) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x }}",
        "{% set ns = namespace(x=['a']) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns }}",
        (
            "{% set ns = namespace(x=['a']) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}"
            "{{ ns.x | string | length }}"
        ),
        (
            "{% set a = namespace(x=['a'], y=['a']) %}{% for i in range(60) %}{% set a.x = [a.x, a.x] %}"
            "{% set a.y = [a.y, a.y] %}{% endfor %}{{ a.x == a.y }}"
        ),
        "{% set x = ['a' * 1000000] * 1000 %}{{ x | join(',') }}",
        "{{ 'a'.ljust(1000000000) }}",
        "{{ 'a' | center(1000000000) }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ '{:1000000000d}'.format(1) }}",
        "{% for i in range(90000) %}" + "x" * 2000 + "{% endfor %}",
        "{% set ns = namespace(x=9) %}{% for i in range(60) %}{% set ns.x = ns.x * ns.x %}{% endfor %}",
        "a" * 300_000,
    ],
)
def test_text_bombs_are_defused_before_they_take_memory(source):
    with pytest.raises(InvalidTemplate):
        render(source)


def test_caps_hold_in_any_thread():
    caught = []

    def work():
        try:
            render("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}")
        except InvalidTemplate as error:
            caught.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(timeout=20)
    assert len(caught) == 1


def test_a_long_row_still_renders():
    text = "x" * (16 * 2**20)
    assert len(render(CHATML, text)) > len(text)


@pytest.mark.parametrize("source", ["{{ ", "{% for %}", "{{ messages | nothing }}"])
def test_what_is_no_template_is_refused(source):
    with pytest.raises(InvalidTemplate, match="cannot be read"):
        render(source)
