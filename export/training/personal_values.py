"""Invented personal values in many styles, and values beside them that are nobody's.

Each is drawn at random and belongs to nobody. Telephone numbers are from ranges that regulators
keep for fiction (NANP 555-01xx, Ofcom, BNetzA, ARCEP, ACMA), domains from RFC 2606, IP addresses
from RFC 5737 and RFC 3849 or from private networks; card numbers are test numbers or have wrong
check digits, as IBANs have. Keys and passwords open nothing.

Values of templates that are only measured come from lists of their own: names, streets and towns
that no learned row has.
"""

import random
import string
from collections.abc import Callable
from dataclasses import dataclass

import make_personal_data as known

Draw = random.Random


@dataclass(frozen=True, kw_only=True)
class Pool:
    """Lists from which names, addresses and mailboxes are drawn."""

    first: tuple[str, ...]
    last: tuple[str, ...]
    streets: tuple[str, ...]
    towns: tuple[tuple[str, str], ...]
    hosts: tuple[str, ...]


LEARNED = Pool(
    first=(
        *known.FIRST,
        *known.words("""
        Aaron Abigail Adele Agnes Aisha Albert Alejandro Alice Amelia Amina Andrea Andrew Angela
        Anton Antonio Astrid Ben Bjarne Brenda Bridget Bruce Caroline Cecilia Charlotte Chloé
        Chris Claire Colin Conor David Deborah Denise Diana Diego Dolores Dylan Edward Eduardo
        Eleanor Emily Emma Eric Ethan Eva Evelyn Fabio Farah Feng Francesca Frank Freya George
        Gerald Gloria Grace Gustav Hannah Harold Heather Henry Hiroshi Holly Ian Irene Isabel Ivan
        Jack James Jane Jasmin Javier Jean Jessica Jin Joan Joe John José Joyce Juan Karen Kate
        Kenji Kevin Khadija Kim Laura Léa Lena Leon Linda Lisa Louis Lucas Lukas Manuel Marcus
        Maria Mark Mary Matthew Max Megan Michael Miguel Mike Mohammed Monica Moritz Naomi Natalie
        Nathan Nicole Nikolai Nina Noah Nora Oliver Owen Pablo Patricia Patrick Paul Peter Philip
        Rachel Ralph Ravi Rebecca Ricardo Richard Robert Robin Ryan Sally Sam Samuel Sandra Sara
        Scott Sean Shirin Sophie Stefan Stella Steven Susan Suresh Sylvia Terry Theo Thomas Tim
        Tina Tobias Tom Tyler Ursula Valentina Vincent Walter Wei Wendy William Yasmin Yuki Yvonne
        Zoë
        """),
    ),
    last=(
        *known.LAST,
        *known.words("""
        Abbott Ahmed Alvarez Anderson Arnold Aziz Bailey Baker Banerjee Barnes Bauer Bell Bennett
        Berger Black Blake Bowman Brandt Brooks Brown Bryant Burke Burns Byrne Campbell Carter
        Castro Chang Chapman Chaudhry Clark Cohen Collins Cook Cooper Cruz Dalton Davies Diaz
        Dixon Doherty Donovan Doyle Duarte Dubois Duncan Edwards Ellis Esposito Evans Farrell
        Fernandez Fletcher Flores Ford Foster Fowler Fox Franco Friedman Fuchs Gao Garcia García
        Gibson Gill Gomez Gordon Graham Grant Green Griffin Hall Hansen Harper Harris Harrison
        Hassan Hayes Henderson Hill Hoffmann Howard Huang Hughes Hunt Hussain Ivanov Jackson
        Jacobs Jenkins Jensen Johansson Johnson Jones Joshi Kaplan Kelly Khan Kim King Klein
        Knight Kowalski Kumar Lambert Lang Larsen Lee Lewis Li Lopez Lynch MacDonald Malone Marino
        Martin Martinez Mason Mehta Miller Mitchell Moore Morales Moreau Morgan Müller Murphy
        Murray Nguyen Nielsen O'Brien O'Connor Patel Pérez Perry Peterson Phillips Porter Powell
        Price Quinn Ramirez Reed Richter Rivera Roberts Robinson Rodriguez Romano Rossini Roth
        Russell Sanchez Sanders Santos Schneider Schwarz Scott Shah Sharma Shaw Simmons Singh
        Smith Stewart Sullivan Suzuki Taylor Thompson Torres Turner Ueda Wagner Walker Walsh Wang
        Ward Watson Weber White Williams Wilson Wood Wright Wu Yang Young Zhang Ziegler
        """),
    ),
    streets=(
        *known.STREETS,
        *known.words("""
        Abbey Acacia Ash Bakers Beech Bridge Castle Cedar Cherry Church Clifton Elm Fern Glebe
        Grange Green Grove Heather High Hill Holly Ivy King's Lake Lime Main Market Mill North Oak
        Park Pine Poplar Priory Queen's River Rose School Spring Station Sycamore Union Vine
        Walnut Washington West Windmill Yew
        """),
    ),
    towns=(
        *known.CITIES,
        ("Ashcombe", "AS3 7ZZ"),
        ("New Harlow", "PA 19999"),
        ("Oberfeld", "89999"),
        ("Sainte-Marie-du-Val", "79990"),
        ("Westbrook Heights", "NJ 07999"),
        ("Villa Serena", "41999"),
        ("Lake Morrow", "MN 55999"),
        ("Tarnbridge", "TN8 9ZZ"),
        ("Cooper Flats", "NSW 2999"),
        ("Zuidhaven", "9999 ZZ"),
    ),
    hosts=(
        "example.com", "example.com", "example.org", "example.net", "mail.example",
        "corp.example", "shop.test", "alderbank.example", "uni-northmoor.example", "hq.test",
        "post.example", "studio-lark.example", "clinic.test", "co.example", "inbox.example.com",
        "eu.example.org", "home.test", "wexford-law.example", "my-isp.example.net",
    ),
)  # fmt: skip
UNSEEN = Pool(
    first=tuple(
        known.words("""
        Adrian Alan Amy Anna Arthur Audrey Barbara Birgit Carla Cesar Cynthia Dennis Dorothy Elias
        Esther Fernando Gabriel Gemma Hamid Harriet Helen Ilse Jacob Jennifer Joseph Judith
        Kathrin Keith Larissa Lorenzo Lucy Margaret Marina Martin Melissa Mustafa Nancy Nico
        Olivia Phoebe Priscilla Raj Roger Rosemary Saskia Sergio Sharon Simone Tatjana Timothy
        Vanessa Vikram
        """)
    ),
    last=tuple(
        known.words("""
        Adams Allen Bakshi Barker Bianco Butler Calloway Carlsson Chandra Chen Cole Curtis Dawson
        Desai Engel Ferrari Fraser Gardner Gonzalez Hamilton Hart Herrera Higgins Iqbal James
        Keating Kang Lawson Lindgren Lowe Mancini Marsh Matthews Mendes Nash Norris Obi Osborne
        Palmer Parker Reyna Rhodes Romero Schuster Sinclair Spencer Stone Tucker Underwood Vega
        Webb Winkler
        """)
    ),
    streets=tuple(
        known.words("""
        Barley Blackthorn Briar Coach Dove Eastgate Falcon Hazel Kiln Lantern Mallard Northfield
        Osprey Primrose Rectory Sandpiper Tower Vicarage Weaver Wren
        """)
    ),
    towns=(
        ("Hollin Cross", "HC2 9ZZ"),
        ("Fort Delaney", "AZ 85999"),
        ("Neustadl", "93999"),
        ("Port Merrin", "BC V9Z 9Z9"),
        ("Saltmere", "SM4 0ZZ"),
        ("Cedar Hollow", "VA 22999"),
    ),
    hosts=(
        "example.edu", "northgate.example", "mail.test", "dental.example", "example.com",
        "web.example.org", "parcel.test", "rhodes-and-co.example",
    ),
)  # fmt: skip


def name(draw: Draw, pool: Pool) -> str:
    """Return a full name, perhaps with an initial or a title, or turned round."""
    first, last = draw.choice(pool.first), draw.choice(pool.last)
    form = draw.random()
    if form < 0.62:
        return f"{first} {last}"
    if form < 0.68:
        return f"{last}, {first}"
    if form < 0.74:
        return f"{first} {draw.choice('ABCDEGHJKLMPRST')}. {last}"
    if form < 0.82:
        return f"{draw.choice(('Mr', 'Mr.', 'Ms', 'Mrs', 'Mrs.', 'Dr', 'Dr.', 'Prof.'))} {last}"
    if form < 0.86:
        return f"{first} {draw.choice(('van der', 'de la', 'von', 'al', 'Mc'))} {last}"
    if form < 0.91:
        return f"{first} {last}-{draw.choice(pool.last)}"
    if form < 0.95:
        return f"{first} {draw.choice(pool.first)} {last}"
    return f"{first} {last}".upper()


def first_name(draw: Draw, pool: Pool) -> str:
    """Return a first name alone."""
    return draw.choice(pool.first)


def email(draw: Draw, pool: Pool) -> str:
    """Return an address of mail."""
    first = "".join(c for c in draw.choice(pool.first).lower() if c.isascii())
    last = "".join(c for c in draw.choice(pool.last).lower() if c.isascii() and c.isalpha())
    n = known.digits(draw, draw.choice((1, 2, 4)))
    nick = draw.choice(("sunny", "the.real", "mx", "bike", "dr", "info", "office", "night-owl"))
    box = draw.choice(
        (
            f"{first}.{last}", f"{first}.{last}", f"{first[:1]}{last}", f"{first}_{last}",
            f"{last}{n}", f"{first}+{nick}", first, f"{first}{n}", f"{nick}.{last}",
            f"{last}-{first}", f"{first[:1]}.{last}", f"{nick}{n}",
        )
    )  # fmt: skip
    address = f"{box}@{draw.choice(pool.hosts)}"
    form = draw.random()
    if form < 0.04:
        return address.upper()
    if form < 0.06:
        return address.replace("@", " at ").replace(".", " dot ")
    if form < 0.08:
        return address.replace("@", "(at)").replace(".", "[.]")
    return address


def phone(draw: Draw, _pool: Pool) -> str:
    """Return a telephone number of a range that is kept for fiction."""
    area = draw.choice(("202", "212", "303", "415", "504", "617", "718", "808"))
    n2, n3 = known.digits(draw, 2), known.digits(draw, 3)
    return draw.choice(
        (
            f"({area}) 555-01{n2}", f"{area}-555-01{n2}", f"+1 {area} 555 01{n2}",
            f"+1{area}55501{n2}", f"{area}.555.01{n2}", f"555-01{n2}", f"{area}55501{n2}",
            f"1-{area}-555-01{n2}", f"+1 ({area}) 555-01{n2} ext. {n3}", f"020 7946 0{n3}",
            f"+44 20 7946 0{n3}", f"+44 7700 900{n3}", f"07700 900{n3}", f"07700900{n3}",
            f"0161 496 0{n3}", f"+44 (0)113 496 0{n3}", f"+49 30 23125 {n3}",
            f"030/23125-{n3}", f"0049 171 39200{n2}", f"+33 1 99 00 {n2} {known.digits(draw, 2)}",
            f"01 99 00 {n2} {known.digits(draw, 2)}", f"+61 491 570 {n3}", f"(02) 5550 1{n3}",
        )
    )  # fmt: skip


def address(draw: Draw, pool: Pool) -> str:
    """Return where somebody lives."""
    town, code = draw.choice(pool.towns)
    street = f"{draw.choice(pool.streets)} {draw.choice(known.WAYS)}"
    number = draw.randint(1, 980)
    return draw.choice(
        (
            f"{number} {street}, {town} {code}", f"{number} {street}, {town}, {code}",
            f"{number} {street}, Apt {draw.randint(1, 40)}{draw.choice('ABC')}, {town}, {code}",
            f"Flat {draw.randint(1, 30)}, {number} {street}, {town}, {code}",
            f"{number} {street}, {town}", f"{number} {street}",
            f"{street} {number}, {code} {town}", f"{number}{draw.choice('ab')} {street}, {town}",
            f"{number} {street}\n{town} {code}", f"P.O. Box {number}, {town} {code}",
            f"Unit {draw.randint(1, 99)}/{number} {street}, {town} {code}",
        )
    )  # fmt: skip


def id_number(draw: Draw, _pool: Pool) -> str:
    """Return a number of a person that nobody has."""
    return known.VALUES["id_number"](draw)


def payment(draw: Draw, _pool: Pool) -> str:
    """Return the number of a card or of an account."""
    return known.VALUES["payment"](draw)


_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip


def any_date(draw: Draw, first_year: int, last_year: int) -> str:
    """Return a date in one of the forms that people write."""
    year, month, day = draw.randint(first_year, last_year), draw.randint(1, 12), draw.randint(1, 28)
    word = draw.choice((_MONTHS[month - 1], _MONTHS[month - 1][:3]))
    return draw.choice(
        (
            f"{year}-{month:02}-{day:02}", f"{day:02}/{month:02}/{year}", f"{month}/{day}/{year}",
            f"{day:02}.{month:02}.{year}", f"{day}.{month}.{year % 100:02}",
            f"{word} {day}, {year}",
            f"{day} {word} {year}", f"{day}-{word[:3]}-{year}", f"{year}{month:02}{day:02}",
            f"{day:02}-{month:02}-{year}", f"{word} {day} {year}", f"{year}/{month:02}/{day:02}",
        )
    )  # fmt: skip


def date_of_birth(draw: Draw, _pool: Pool) -> str:
    """Return a date on which somebody may have been born."""
    return any_date(draw, 1935, 2016)


def secret(draw: Draw, _pool: Pool) -> str:
    """Return a password, or a key in no provider's form."""
    letters, signs = string.ascii_letters + string.digits, "!#$%&*?-_"
    word = draw.choice(("Summer", "tiger", "Pa55word", "hunter", "dragon", "Letmein", "coffee"))
    other = draw.choice(("Rain", "horse", "Moon", "blue", "Kiwi", "staple", "river"))
    return draw.choice(
        (
            "".join(draw.choice(letters + signs) for _ in range(draw.randint(9, 16))),
            "".join(draw.choice(letters) for _ in range(draw.choice((16, 24, 32)))),
            f"{word}{known.digits(draw, draw.choice((2, 3, 4)))}{draw.choice(signs)}",
            f"{word}{other}{known.digits(draw, 2)}{draw.choice(signs)}",
            f"{word}-{other}-{draw.choice(('lamp', 'salt', 'orbit'))}-{known.digits(draw, 2)}",
            f"sk-test-{''.join(draw.choice(letters) for _ in range(20))}",
            f"hz_{draw.choice(('live', 'test'))}_{draw.getrandbits(96):024x}",
            f"tok-{draw.getrandbits(64):016x}",
            f"key.{''.join(draw.choice(letters) for _ in range(12))}.{known.digits(draw, 4)}",
            f"{draw.getrandbits(128):032x}",
        )
    )


def ip_address(draw: Draw, _pool: Pool) -> str:
    """Return an address of a network for documentation, or of a private one."""
    last, third = draw.randint(1, 254), draw.randint(0, 255)
    return draw.choice(
        (
            f"192.0.2.{last}", f"198.51.100.{last}", f"203.0.113.{last}", f"203.0.113.{last}",
            f"10.{draw.randint(0, 255)}.{third}.{last}", f"192.168.{third}.{last}",
            f"172.16.{third}.{last}", f"2001:db8::{draw.getrandbits(16):x}",
            f"2001:db8:{draw.getrandbits(16):x}:{draw.getrandbits(16):x}::{draw.randint(1, 99)}",
            f"2001:0db8:85a3:0000:0000:8a2e:{draw.getrandbits(16):04x}:{draw.getrandbits(16):04x}",
        )
    )  # fmt: skip


# The types of spans, in the order of the level's labels.
PERSONAL: dict[str, Callable[[Draw, Pool], str]] = {
    "name": name,
    "email": email,
    "phone": phone,
    "address": address,
    "date_of_birth": date_of_birth,
    "id_number": id_number,
    "payment": payment,
    "ip_address": ip_address,
    "secret": secret,
}
# Values in the same places that are nobody's.
PLAIN: dict[str, Callable[[Draw], str]] = {
    **{kind: value for kind, value in known.PLAIN.items() if kind not in ("host", "date")},
    "date": lambda draw: any_date(draw, 1990, 2031),
    "year": lambda draw: str(draw.randint(1800, 2030)),
    "time": lambda draw: f"{draw.randint(0, 23)}:{draw.randint(0, 59):02}",
    "count": lambda draw: str(draw.randint(2, 99999)),
    "long_version": lambda draw: (
        f"{draw.randint(1, 9)}.{draw.randint(10, 40)}"
        f".{draw.randint(1000, 9999)}.{draw.randint(1, 99)}"
    ),
    "hash": lambda draw: f"sha256:{draw.getrandbits(160):040x}",
    "part": lambda draw: f"{known.digits(draw, 3)}-{known.digits(draw, 4)}-{draw.choice('ABCD')}",
    "case": lambda draw: f"{draw.randint(10, 99)}-cv-{known.digits(draw, 5)}",
    "product": lambda draw: draw.choice(
        (
            "Galaxy S23", "RTX 4090", "ThinkPad X1", "Model 3", "PlayStation 5", "Windows 11",
            "Kindle Oasis", "Boeing 737-800", "WD-40", "Canon EOS R6", "iPhone 15 Pro", "A320neo",
        )
    ),
    "figure": lambda draw: draw.choice(
        (
            "Marie Curie", "Isaac Newton", "Albert Einstein", "Nelson Mandela", "Angela Merkel",
            "Barack Obama", "William Shakespeare", "Jane Austen", "Charles Darwin", "Frida Kahlo",
            "Leonardo da Vinci", "Ludwig van Beethoven", "Winston Churchill", "Mahatma Gandhi",
            "Abraham Lincoln", "Queen Elizabeth II", "Pablo Picasso", "Ada Lovelace", "Alan Turing",
            "Napoleon", "Cleopatra", "Julius Caesar", "Serena Williams", "Lionel Messi",
            "Taylor Swift", "Beyoncé", "Emmanuel Macron", "Joe Biden", "Donald Trump", "Socrates",
            "Galileo Galilei", "Neil Armstrong", "Rosa Parks", "Vincent van Gogh", "Stephen King",
        )
    ),
}  # fmt: skip
