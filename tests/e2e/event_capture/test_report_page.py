"""The HTML report in a real browser: what people see, find, open and reach by keyboard, and what it never does."""

import json
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from e2e.event_capture.reading import EVERY_TITLE, NAMELESS, OUTLINE, TIMES, chosen, darkness, focused, level, tab_to
from e2e.event_capture.scenes import Open, Scene

# What it shows


def test_each_connection_and_each_call_has_a_lane(open_page: Open, two_users: str) -> None:
    page = open_page(two_users).page

    assert page.locator(".lane-name").all_text_contents() == ["ada-1", "bob-1"]
    assert page.locator("#timeline .call").count() == 5
    labels = page.locator(".lane-sub").all_text_contents()
    assert [text for text in labels if text.startswith("tool ")] == [
        *("tool profiler", "tool slow_query_log"),
        *("tool profiler", "tool slow_query_log", "tool profiler"),
    ]


def test_every_event_is_an_option_of_the_timeline(open_page: Open, two_users: str) -> None:
    page = open_page(two_users).page

    assert page.get_by_role("listbox").get_by_role("option").count() == 26


def test_a_call_is_as_long_as_it_took(open_page: Open, two_users: str) -> None:
    page = open_page(two_users).page

    words = page.locator("#timeline .call .time").all_text_contents()

    assert words == ["4.80 s", "1.30 s", "never ended", "1.30 s", "never began"]


def test_violations_are_marked_on_the_timeline(open_page: Open, two_users: str) -> None:
    page = open_page(two_users).page

    assert page.locator(".pin").count() == 2
    assert page.locator("#timeline .mark .ring").count() == 2
    assert page.locator("#overview .alarm").count() == 2
    assert page.locator(".violation").count() == 3


def test_a_mark_of_a_violation_opens_the_event_that_broke_it(open_page: Open, two_users: str) -> None:
    page = open_page(two_users).page

    page.locator(".pin").last.click()

    panel = page.get_by_role("dialog")
    expect(panel).to_be_visible()
    expect(panel.locator(".trouble")).to_contain_text("call-of-nobody")
    expect(page.locator(".violation.chosen")).to_have_count(1)


def test_a_violation_leads_to_its_record(open_page: Open, two_users: str) -> None:
    page = open_page(two_users).page

    button = page.locator(".violation .jump").first
    number = (button.text_content() or "").removeprefix("record ")
    button.click()

    expect(page.get_by_role("dialog").locator("dd").first).to_have_text(number)


def test_a_missing_event_is_shown_where_it_should_have_come(open_page: Open) -> None:
    scene = Scene()
    scene.open(0, "ada")
    scene.ask(0.1, "ada", "hello")
    scene.event(0.3, "ada", "agent_started", text="starting")
    scene.close(5, "ada")
    page = open_page(scene.page()).page

    assert "no agent_completed" in page.locator("#timeline .missing text").all_text_contents()


# Search, zoom, payload


def test_search_finds_what_only_a_payload_says(open_page: Open, two_users: str) -> None:
    page = open_page(two_users).page

    page.get_by_role("searchbox").fill("call-of-nobody")

    expect(page.locator("#found")).to_have_text("1 of 26 events match")
    expect(page.locator("#list-count")).to_have_text("1 of 26")
    expect(page.locator("#timeline .mark:not(.faint)")).to_have_count(1)


def test_enter_in_the_search_goes_from_match_to_match(open_page: Open, two_users: str) -> None:
    page = open_page(two_users).page
    page.get_by_role("searchbox").fill("agent_thinking")

    page.keyboard.press("Enter")
    first = chosen(page)
    page.keyboard.press("Enter")

    assert first.startswith("agent_thinking")
    assert "ada-1" in first
    assert "bob-1" in chosen(page)


def test_a_search_without_a_match_says_so(open_page: Open, two_users: str) -> None:
    page = open_page(two_users).page

    page.get_by_role("searchbox").fill("nothing like this")

    expect(page.locator("#found")).to_have_text("0 of 26 events match")
    expect(page.locator("#list")).to_contain_text("No event matches.")


def test_a_kind_of_event_can_be_switched_off(open_page: Open, two_users: str) -> None:
    page = open_page(two_users).page
    chip = page.locator("#legend").get_by_role("button", name="partial_result")

    chip.click()

    expect(chip).to_have_attribute("aria-pressed", "false")
    expect(page.locator("#list-count")).to_have_text("20 of 26")


def test_zoom_brings_fewer_events_into_view_and_fit_brings_all_back(open_page: Open, two_users: str) -> None:
    page = open_page(two_users).page
    everything = page.locator("#timeline .mark").count()

    for _ in range(3):
        page.get_by_role("button", name="Zoom in").click()
    expect(page.locator("#zoom-level")).to_have_text(f"8{TIMES}")
    assert page.locator("#timeline .mark").count() < everything

    page.get_by_role("button", name="Fit").click()
    expect(page.locator("#zoom-level")).to_have_text(f"1{TIMES}")
    assert page.locator("#timeline .mark").count() == everything


def test_the_wheel_zooms_where_the_pointer_is(open_page: Open, two_users: str) -> None:
    page = open_page(two_users).page
    name = page.locator("#timeline .mark").nth(9).get_attribute("id")
    box = page.locator(f"#{name}").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.keyboard.down("Control")

    page.mouse.wheel(0, -600)
    page.wait_for_function("one => document.getElementById('zoom-level').textContent !== one", arg=f"1{TIMES}")

    page.keyboard.up("Control")
    after = page.locator(f"#{name}").bounding_box()
    assert after is not None
    assert after["x"] == pytest.approx(box["x"], abs=4)


def test_dragging_moves_the_part_in_view(open_page: Open, two_users: str) -> None:
    page = open_page(two_users).page
    for _ in range(2):
        page.get_by_role("button", name="Zoom in").click()
    before = page.locator("#overview .window").get_attribute("x")
    box = page.locator("#timeline").bounding_box()
    assert box is not None

    page.mouse.move(box["x"] + 700, box["y"] + 12)
    page.mouse.down()
    page.mouse.move(box["x"] + 400, box["y"] + 12, steps=4)
    page.mouse.up()
    page.wait_for_function("x => document.querySelector('#overview .window').getAttribute('x') !== x", arg=before)

    assert float(page.locator("#overview .window").get_attribute("x") or 0) > float(before or 0)


def test_a_click_on_an_event_shows_its_payload(open_page: Open, two_users: str) -> None:
    page = open_page(two_users).page

    page.locator("#timeline").get_by_role("option", name="agent_thinking").first.click()

    panel = page.get_by_role("dialog", name="agent_thinking")
    expect(panel).to_be_visible()
    payload = json.loads(panel.locator("#payload").text_content() or "")
    assert payload["payload"] == {"text": "I need to look at the slow queries first"}


def test_a_call_tells_how_long_it_took_and_what_ended_it(open_page: Open, two_users: str) -> None:
    page = open_page(two_users).page

    page.locator("#timeline .call").first.click()

    expect(page.get_by_role("dialog")).to_contain_text("run-1-profiler: 4.80 s, ended by record")


def test_a_line_of_the_list_opens_its_event(open_page: Open, two_users: str) -> None:
    page = open_page(two_users).page

    page.locator("#list .line[data-place]").nth(4).click()

    expect(page.get_by_role("dialog").locator("dd").first).to_have_text("4")


# By keyboard alone


def test_the_timeline_is_reached_walked_and_opened_by_keyboard(open_page: Open, two_users: str) -> None:
    page = open_page(two_users).page

    tab_to(page, "timeline")
    first = chosen(page)
    page.keyboard.press("ArrowRight")
    second = chosen(page)
    assert first.startswith("(connection opened)")
    assert second.startswith("sent user_message")

    page.keyboard.press("Enter")
    panel = page.get_by_role("dialog", name="user_message")
    expect(panel).to_be_visible()
    assert focused(page) == "panel-title"

    page.keyboard.press("Escape")
    expect(panel).to_be_hidden()
    assert focused(page) == "timeline"
    assert chosen(page) == second


def test_arrows_up_and_down_change_the_connection(open_page: Open, two_users: str) -> None:
    page = open_page(two_users).page
    tab_to(page, "timeline")
    assert "ada-1" in chosen(page)

    page.keyboard.press("ArrowDown")
    assert "bob-1" in chosen(page)

    page.keyboard.press("ArrowUp")
    assert "ada-1" in chosen(page)


def test_home_and_end_go_to_the_ends_of_a_connection(open_page: Open, two_users: str) -> None:
    page = open_page(two_users).page
    tab_to(page, "timeline")

    page.keyboard.press("End")
    assert chosen(page).startswith("(connection closed)")

    page.keyboard.press("Home")
    assert chosen(page).startswith("(connection opened)")


def test_n_and_p_go_from_violation_to_violation(open_page: Open, two_users: str) -> None:
    page = open_page(two_users).page
    tab_to(page, "timeline")

    page.keyboard.press("n")
    first = chosen(page)
    page.keyboard.press("p")

    assert "violation:" in first
    assert "violation:" in chosen(page)
    assert chosen(page) != first


def test_plus_minus_and_zero_zoom(open_page: Open, two_users: str) -> None:
    page = open_page(two_users).page
    tab_to(page, "timeline")

    page.keyboard.press("+")
    expect(page.locator("#zoom-level")).to_have_text(f"2{TIMES}")
    page.keyboard.press("-")
    expect(page.locator("#zoom-level")).to_have_text(f"1{TIMES}")
    page.keyboard.press("+")
    page.keyboard.press("0")
    expect(page.locator("#zoom-level")).to_have_text(f"1{TIMES}")


def test_a_slash_goes_to_the_search_and_letters_there_are_letters(open_page: Open, two_users: str) -> None:
    page = open_page(two_users).page

    page.keyboard.press("/")
    page.keyboard.type("nap0+")

    assert focused(page) == "search"
    expect(page.get_by_role("searchbox")).to_have_value("nap0+")
    expect(page.locator("#zoom-level")).to_have_text(f"1{TIMES}")


def test_the_list_is_walked_by_keyboard(open_page: Open, two_users: str) -> None:
    page = open_page(two_users).page
    tab_to(page, "list", most=80)

    for _ in range(20):
        page.keyboard.press("ArrowDown")
    row = page.locator("#list .line[aria-selected=true]")
    expect(row).to_be_in_viewport()
    page.keyboard.press("Enter")

    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    assert focused(page) == "list"


def test_whatever_has_the_focus_shows_it(open_page: Open, two_users: str) -> None:
    page = open_page(two_users).page
    unseen = []

    for _ in range(30):
        page.keyboard.press("Tab")
        outline = page.evaluate(OUTLINE)
        if page.evaluate("document.activeElement !== document.body") and (outline[0] == "none" or outline[1] < 2):
            unseen.append(page.evaluate("document.activeElement.outerHTML.slice(0, 80)"))

    assert unseen == []


def test_everything_that_can_be_pressed_has_a_name(open_page: Open, two_users: str) -> None:
    page = open_page(two_users).page
    page.locator("#timeline .mark").first.click()

    nameless = page.evaluate(NAMELESS)

    assert nameless == []


# Light and dark


@pytest.mark.parametrize(("scheme", "dark"), [("light", False), ("dark", True)])
def test_the_page_follows_the_system_and_the_button(open_page: Open, two_users: str, scheme: Any, dark: Any) -> None:
    page = open_page(two_users, color_scheme=scheme).page
    assert (darkness(page) > 0.5) is dark

    page.locator("#theme").click()

    assert (darkness(page) > 0.5) is not dark


# What it never does


def test_content_of_the_stream_runs_nothing(open_page: Open, hostile: str) -> None:
    page = open_page(hostile).page

    page.locator("#list .line[data-place]").first.click()
    seen = page.get_by_role("button", name="Next", exact=False).last.evaluate(EVERY_TITLE, 25)
    page.locator("#timeline .mark").first.hover()

    assert "<img src=x onerror=window.hacked=1>" in seen
    assert page.evaluate("typeof window.hacked") == "undefined"
    assert page.locator("img, iframe, object, embed").count() == 0
    assert "<script>window.hacked=1</script>" in page.title()


def test_the_policy_stops_what_would_be_planted_in_the_page(open_page: Open, two_users: str) -> None:
    opened = open_page(two_users, forgive=True)
    page = opened.page

    with page.expect_console_message(lambda message: "Content Security Policy" in message.text):
        page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.hacked = 1\">')")
    refused = page.evaluate("fetch('http://127.0.0.1:9/').then(() => 'sent', () => 'refused')")

    assert refused == "refused"
    assert page.evaluate("typeof window.hacked") == "undefined"
    assert not any(url.startswith("http") for url in opened.requests)


def test_without_scripts_the_verdict_and_the_violations_can_be_read(open_page: Open, two_users: str) -> None:
    page = open_page(two_users, java_script_enabled=False).page

    expect(page.get_by_role("heading", level=1)).to_have_text("The contract is violated")
    expect(page.locator(".violation")).to_have_count(3)
    expect(page.locator("noscript")).to_be_visible()


# Five thousand events


def test_five_thousand_events_are_drawn_with_few_elements(open_page: Open, five_thousand: str) -> None:
    page = open_page(five_thousand).page

    expect(page.locator("#list-count")).to_have_text("5,000")
    assert page.locator("#timeline .column").count() > 100
    assert page.evaluate("document.querySelectorAll('#timeline *, #overview *, #list *').length") < 6_000


def test_a_page_that_shows_a_part_says_so(open_page: Open, five_thousand: str) -> None:
    page = open_page(five_thousand).page

    expect(page.locator(".notice").first).to_contain_text("This page shows 5,000 of 5,")


def test_where_records_are_left_out_the_timeline_does_not_look_like_silence(open_page: Open) -> None:
    scene = Scene()
    scene.open(0, "ada")
    for number in range(600):
        scene.turn(1 + number * 12, "ada", run=f"run-{number}", lost=number == 590)
    scene.close(7300, "ada")
    page = open_page(scene.page()).page

    expect(page.locator("#timeline .gap")).to_have_count(1)
    expect(page.locator("#timeline")).to_contain_text("records not shown")


def test_a_column_of_events_opens_into_its_events(open_page: Open, five_thousand: str) -> None:
    page = open_page(five_thousand).page

    for _ in range(8):
        if not page.locator("#timeline .column").count():
            break
        before = level(page)
        page.locator("#timeline .column").nth(3 if before == 1 else 0).click()
        page.wait_for_function(
            "before => parseFloat(document.getElementById('zoom-level').textContent) !== before", arg=before
        )

    assert page.locator("#timeline .column").count() == 0
    assert page.locator("#timeline .mark").count() > 0


def test_calls_that_follow_each_other_can_share_lanes_or_have_their_own(open_page: Open, five_thousand: str) -> None:
    page = open_page(five_thousand).page
    toggle = page.get_by_role("button", name="One lane per call")
    expect(toggle).to_have_attribute("aria-pressed", "false")
    shared = page.locator("#timeline .branch").count()

    toggle.click()

    expect(toggle).to_have_attribute("aria-pressed", "true")
    assert page.locator("#timeline .branch").count() > 3 * shared


def test_the_last_of_many_events_is_one_key_away(open_page: Open, five_thousand: str) -> None:
    page = open_page(five_thousand).page
    page.locator("#list").focus()

    page.keyboard.press("End")

    expect(page.locator("#list .line[aria-selected=true]")).to_be_in_viewport()


# How it looks


def test_nothing_is_wider_than_a_phone(open_page: Open, two_users: str) -> None:
    page = open_page(two_users, viewport={"width": 390, "height": 844}).page

    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_can_be_looked_at(open_page: Open, two_users: str, tmp_path: Path, scheme: Any) -> None:
    """`--basetemp=DIR` says where the pictures are kept."""
    page = open_page(two_users, color_scheme=scheme).page
    page.keyboard.press("n")

    page.screenshot(path=tmp_path / f"report-{scheme}.png", full_page=True)

    print(f"screenshot: {tmp_path / f'report-{scheme}.png'}")
    assert (tmp_path / f"report-{scheme}.png").stat().st_size > 50_000
