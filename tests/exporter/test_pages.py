"""The exporter's pages."""

import asyncio
import gzip
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from smolmon.exporter.pages import Pages
from smolmon.exporter.scrape import Scraper
from smolmon.exporter.vocabulary import metric
from smolmon.exporter.web import Request

OPENMETRICS = "application/openmetrics-text;version=1.0.0"


class Looks:
    """Counts the looks; each shows its number."""

    def __init__(self):
        self.count = 0
        self.gate = threading.Event()
        self.gate.set()

    def look(self):
        self.count += 1
        number = self.count

        def collect():
            assert self.gate.wait(5)
            yield metric("smolmon_training_connections", [({"port": "1"}, number)])

        return [], {"numbered": collect}


@pytest.fixture
def looks():
    return Looks()


@pytest.fixture
def pages(looks):
    with ThreadPoolExecutor(1) as worker:
        yield Pages(looks.look, Scraper(), worker)


def request(**headers):
    return Request("GET", "/metrics", headers, True)


def number(response):
    [family] = [
        f for f in parse_text(response.body.decode()) if f.name == "smolmon_training_connections"
    ]
    return family.samples[0].value


def test_text_and_openmetrics_and_gzip(pages):
    async def main():
        page = pages.pages["/metrics"]
        plain = await page(request())
        rich = await page(request(accept=OPENMETRICS))
        small = await page(request(**{"accept-encoding": "gzip"}))
        return plain, rich, small

    plain, rich, small = asyncio.run(main())
    assert plain.content_type == "text/plain; version=0.0.4; charset=utf-8"
    assert rich.content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert list(parse_openmetrics(rich.body.decode()))
    assert small.headers["Content-Encoding"] == "gzip"
    assert number(plain) == 1
    assert b"smolmon_training_connections" in gzip.decompress(small.body)


def test_fifty_scrapes_at_once_are_two_looks(pages, looks):
    async def main():
        page = pages.pages["/metrics"]
        looks.gate.clear()
        first = asyncio.create_task(page(request()))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert looks.count == 1
        others = [asyncio.create_task(page(request())) for _ in range(50)]
        await asyncio.sleep(0)
        looks.gate.set()
        return await first, await asyncio.gather(*others)

    first, others = asyncio.run(main())
    assert number(first) == 1
    # Nobody gets what was seen before they asked.
    assert {number(response) for response in others} == {2}
    assert looks.count == 2


def test_a_client_that_leaves_takes_nobody_with_it(pages, looks):
    async def main():
        page = pages.pages["/metrics"]
        looks.gate.clear()
        leaving, staying = (asyncio.create_task(page(request())) for _ in range(2))
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.sleep(0)
        looks.gate.set()
        return await staying

    assert number(asyncio.run(main())) == 1


def test_ready_after_the_first_round(pages):
    async def main():
        ready = pages.pages["/-/ready"]
        before = await ready(request())
        await pages.first_round()
        return before, await ready(request()), await pages.pages["/-/healthy"](request())

    before, after, healthy = asyncio.run(main())
    assert (before.status, after.status, healthy.status) == (503, 200, 200)
