"""Reading a report back: its tables and its words."""

from html.parser import HTMLParser

from pilotage.report import write_report


class Page(HTMLParser):
    """Tables as lists of rows of cells, every attribute, and the text."""

    def __init__(self, text):
        super().__init__()
        self.tables, self.attributes, self.words, self.bold = [], [], [], []
        self.cell = self.in_bold = None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.attributes += [(tag, *pair) for pair in attrs]
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
            self.cell = self.tables[-1][-1]
        elif tag == "b":
            self.in_bold = True

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self.cell = None
        elif tag == "b":
            self.in_bold = False

    def handle_data(self, data):
        if self.cell is not None:
            self.cell[-1] += data
            if self.in_bold:
                self.bold.append((self.cell[0], data))
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def table(self, *heads):
        """The first table whose last head row is this."""
        return next(t for t in self.tables if any(tuple(row) == heads for row in t[:2]))


def report(folder, *runs):
    """The page of a report, all of whose files are there."""
    out = folder / "out" / "report.html"
    files = write_report(runs, out)
    assert all(path.is_file() for path in files)
    assert files[0] == out
    return Page(out.read_text(encoding="utf-8"))
