"""Write what is made from the code, every page and the diagram of the law: `make pages`, `python -m tests.pages`."""

from . import api_page, cli_page, diagram, events_page, items_page, rules_page, scenarios_page, service_page

GENERATED = {
    made.PAGE: made.page
    for made in (api_page, cli_page, events_page, items_page, rules_page, scenarios_page, service_page)
}

if __name__ == "__main__":
    for path, made in GENERATED.items():
        path.write_text(made(), encoding="utf-8")
    for place in diagram.PLACES:
        place.write_text(diagram.written(place.read_text(encoding="utf-8")), encoding="utf-8")
