"""Writes personal_data.jsonl: made-up personal data in templates of many styles.

    python export/training/make_personal_data.py > export/training/personal_data.jsonl

Every value is drawn at random and belongs to nobody: telephone numbers and domains are reserved
for examples, card numbers and IBANs have wrong check digits or are published for tests, and
numbers of persons lie outside the ranges that are given out. An address of mail counts as one in
documentation, too. Names of well-known people, of companies and of places are not personal data.

`pii` has the kinds in a text, `spans` their places: the first code point of a value and the one
behind its last. An IP address has a place, too, and is of no kind.
"""

import hashlib
import json
import random
import re
import string
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

SEED = 20260
KINDS = ("email", "phone", "address", "name", "id_number", "payment")
# The label of the span of a value, by its kind; other values have no span.
SPAN_LABELS = {**{kind: kind for kind in KINDS}, "host": "ip_address"}
UNSEEN_SOURCE = "hazgate_pii_unseen"
# Share of the templates, drawn by their text, whose rows are only measured.
_UNSEEN_SHARE = 0.22
_ROWS_OF_TEMPLATE = 7
_ROWS_OF_FRAME = 3
_OTHER_TEXTS = 420


def words(block: str) -> list[str]:
    """Return the words of a block."""
    return block.split()


FIRST = words("""
Ada Alma Amir Anders Anita Anya Arjun Aylin Beatriz Bela Bilal Bruno Camille Carlos Celia Chen
Chiara Cyrus Dalia Daniel Dario Deepa Dimitri Edith Eli Elena Emeka Esra Fatima Felix Fiona Gareth
Gita Greta Hana Hassan Helga Hugo Ibrahim Ines Ingrid Isaac Ivy Jakob Jamal Jana Jorge Julia Kaito
Karin Kofi Kwame Laila Lars Leila Liam Lin Lucia Magnus Maja Malik Marta Mateo Mei Mina Mohan
Nadia Nils Noor Olga Omar Oscar Paula Pavel Priya Rafael Renata Rosa Ruth Samir Sanna Selma Simon
Sofia Sven Tariq Teresa Thabo Tomas Ulla Vera Victor Wanda Xenia Yusuf Zara
""")
LAST = words("""
Abara Adeyemi Almeida Andersen Arslan Bakker Baptiste Barros Becker Bianchi Bjork Carvalho Castell
Cho Dahl Darzi Delacroix Diallo Dvorak Eklund Eriksen Faruqi Fischer Fontaine Forsyth Gallo
Greenway Gupta Haddad Halvorsen Hartley Hidalgo Hoang Holm Horvat Ibarra Ito Iversen Jansen Kamara
Kapoor Kaya Keller Kimura Kovac Kruger Lachance Lindqvist Lombard Macleod Marchetti Mbeki Mendoza
Meyer Mwangi Nakata Nowak Nunes Oakley Okafor Olsen Ortega Osei Park Pereira Petrov Popescu Quint
Rahman Reyes Rivas Rossi Sadler Salazar Sato Schmidt Sen Silva Sorensen Szabo Tanaka Thornbury
Toivonen Tran Udo Vargas Vasquez Vogel Wexford Weiss Whitlock Yamada Yilmaz Zeman Zhou
""")
STREETS = words("""
Alder Birchwood Canal Chestnut Cobbler's Copper Mill Elmhurst Ferry Foxglove Garnet Hawthorn
Juniper Kestrel Larkspur Linden Maple Meadow Millstone Orchard Pinecrest Quarry Rowan Saddler's
Silverbirch Tannery Thistle Wharf Willow
""")
WAYS = ("Street", "St.", "Avenue", "Ave", "Lane", "Road", "Rd", "Court", "Drive", "Close")
CITIES = (
    ("Milbury", "OH 43999"),
    ("Port Ansel", "ME 04999"),
    ("Granby Falls", "CO 80999"),
    ("Lower Wexcombe", "WX4 9ZZ"),
    ("East Thorley", "TQ9 0ZZ"),
    ("Santa Lira", "CA 95999"),
    ("Nordhagen", "9990"),
    ("Ballymorra", "ZZ99 9ZZ"),
    ("Kingsmarsh", "KM1 0ZZ"),
    ("Redfield", "TX 79999"),
)
_DOMAINS = (
    "example.com",
    "example.org",
    "example.net",
    "mail.example",
    "corp.example",
    "shop.test",
)
# Published by payment providers for tests.
_TEST_CARDS = (
    "4242424242424242",
    "4111111111111111",
    "4012888888881881",
    "5555555555554444",
    "5105105105105100",
    "378282246310005",
    "371449635398431",
    "6011111111111117",
    "3530111333300000",
)


def digits(draw: random.Random, n: int) -> str:
    """Return `n` random digits."""
    return "".join(draw.choice("0123456789") for _ in range(n))


def _name(draw: random.Random) -> str:
    first, last = draw.choice(FIRST), draw.choice(LAST)
    form = draw.random()
    if form < 0.68:
        return f"{first} {last}"
    if form < 0.78:
        return f"{last}, {first}"
    if form < 0.88:
        return f"{first} {draw.choice('ABCDEGHJKLMPRST')}. {last}"
    return f"{draw.choice(('Mr', 'Ms', 'Mrs', 'Dr', 'Prof.'))} {last}"


def _email(draw: random.Random) -> str:
    first, last = draw.choice(FIRST).lower(), draw.choice(LAST).lower()
    box = draw.choice(
        (
            f"{first}.{last}",
            f"{first[0]}{last}",
            f"{first}_{last}",
            f"{last}{digits(draw, 2)}",
            f"{first}+{draw.choice(('news', 'bank', 'shop'))}",
            f"{first}",
        )
    )
    return f"{box}@{draw.choice(_DOMAINS)}"


def _phone(draw: random.Random) -> str:
    area, last = draw.choice(("202", "303", "415", "617", "718", "808")), digits(draw, 2)
    return draw.choice(
        (
            f"({area}) 555-01{last}",
            f"{area}-555-01{last}",
            f"+1 {area} 555 01{last}",
            f"+1{area}55501{last}",
            f"{area}.555.01{last}",
            f"555-01{last}",
            f"020 7946 0{digits(draw, 3)}",
            f"+44 20 7946 0{digits(draw, 3)}",
            f"+44 7700 900{digits(draw, 3)}",
            f"07700 900{digits(draw, 3)}",
            f"+49 30 23125 {digits(draw, 3)}",
        )
    )


def _address(draw: random.Random) -> str:
    city, code = draw.choice(CITIES)
    street = f"{draw.choice(STREETS)} {draw.choice(WAYS)}"
    number = draw.randint(1, 980)
    return draw.choice(
        (
            f"{number} {street}, {city} {code}",
            f"{number} {street}, Apt {draw.randint(1, 40)}{draw.choice('ABC')}, {city}, {code}",
            f"Flat {draw.randint(1, 30)}, {number} {street}, {city}, {code}",
            f"{number} {street}, {city}",
            f"{street} {number}, {code} {city}",
        )
    )


def _id_number(draw: random.Random) -> str:
    return draw.choice(
        (
            # Social security numbers with a group, an area or a serial that none has.
            f"{digits(draw, 3)}-00-{digits(draw, 4)}",
            f"666-{draw.randint(10, 99)}-{digits(draw, 4)}",
            f"{digits(draw, 3)}-{draw.randint(10, 99)}-0000",
            f"{draw.choice('CKLXP')}{draw.choice('XYZ')}{digits(draw, 7)}",
            f"{draw.choice('ABCX')}{digits(draw, 8)}",
            f"QQ {digits(draw, 2)} {digits(draw, 2)} {digits(draw, 2)} {draw.choice('ABCD')}",
            f"0{digits(draw, 10)}",
            f"00-{digits(draw, 7)}",
            f"{digits(draw, 8)}{draw.choice('IOU')}",
            f"D{digits(draw, 3)}-{digits(draw, 4)}-{digits(draw, 4)}",
        )
    )


def _luhn(number: str) -> int:
    doubled = [int(d) * (2 if i % 2 else 1) for i, d in enumerate(reversed(number))]
    return sum(d - 9 if d > 9 else d for d in doubled) % 10


def _card(draw: random.Random) -> str:
    number = draw.choice(_TEST_CARDS)
    if draw.random() < 0.7:
        number = draw.choice("4523") + digits(draw, 15)
        while _luhn(number) == 0:
            number = number[:-1] + digits(draw, 1)
    parts = re.findall(r"\d{1,4}", number)
    return draw.choice((" ", "-", "", " ")).join(parts)


def _iban(draw: random.Random) -> str:
    country, n = draw.choice((("DE", 18), ("GB", 18), ("FR", 23), ("NL", 14), ("ES", 20)))
    letters = {"GB": "ZZZZ", "NL": "ZZZZ"}.get(country, "")
    while True:
        check = digits(draw, 2)
        body = letters + digits(draw, n - len(letters))
        number = "".join(str(int(c, 36)) for c in body + country + check)
        if int(number) % 97 != 1:
            break
    iban = country + check + body
    return " ".join(re.findall(r".{1,4}", iban)) if draw.random() < 0.6 else iban


def _payment(draw: random.Random) -> str:
    return _card(draw) if draw.random() < 0.65 else _iban(draw)


VALUES: dict[str, Callable[[random.Random], str]] = {
    "email": _email,
    "phone": _phone,
    "address": _address,
    "name": _name,
    "id_number": _id_number,
    "payment": _payment,
}

# One field of a record, in the forms that records have. {k} is its key, {v} its value, {w} a
# harmless value beside it.
_FRAMES = (
    '{{"{k}": "{v}", "status": "open", "retries": {w}}}',
    '{{"id": {w}, "{k}": "{v}"}}',
    "{k}: {v}",
    "{k} = {v}",
    "{K}:\t{v}",
    "- {k}: {v}\n- updated: 2024-03-1{d}\n- priority: low",
    "id,{k},created\n{w},{v},2023-11-0{d}",
    "{w};{v};active;0",
    "2024-05-1{d}T08:4{d}:1{d}Z INFO signup {k}={v} attempt={d}",
    "[ERROR] worker-{d}: cannot store field {k} with value '{v}'",
    "<{k}>{v}</{k}>",
    "INSERT INTO people ({k}, shard) VALUES ('{v}', {d});",
    "UPDATE t SET {k} = '{v}' WHERE row = {w};",
    "SELECT * FROM visits WHERE {k} = '{v}' LIMIT 1{d}",
    'customer.{k} = "{v}"  # imported',
    "const {k} = '{v}';",
    'print(f"found {v} in row {w}")',
    "assert record['{k}'] == '{v}'",
    "curl -d '{k}={v}' https://api.example.com/v{d}/update",
    "| {k} | {v} |\n| pages | {w} |",
    "** {K} ** {v}",
    "{K}? {v}. Next question please.",
    "Form 2{d}b\n{K} .......... {v}\nSignature ..........",
    "export CONTACT_{U}={v}",
    "# fixtures.yaml\nuser_{w}:\n  {k}: {v}\n  active: true",
    "OCR page {d}: ... {K} {v} ... page break",
    "key={k}&value={v}&lang=en",
    "Ticket #{w} | field {k} | old: (empty) | new: {v}",
    "diff --git a/seed.csv b/seed.csv\n+{w},{v}",
    "voice transcript, 00:0{d}: the {k} is {v}, did you get that?",
)
_KEYS: dict[str, tuple[str, ...]] = {
    "email": ("email", "mail", "contact", "recipient"),
    "phone": ("phone", "mobile", "tel", "callback"),
    "address": ("address", "ship_to", "residence", "home_address"),
    "name": ("name", "full_name", "patient", "account_holder", "cardholder"),
    "id_number": ("ssn", "passport", "tax_id", "national_id", "licence_no"),
    "payment": ("card", "iban", "pan", "account", "card_number"),
}
# Values in the same frames that are nobody's.
PLAIN: dict[str, Callable[[random.Random], str]] = {
    "order": lambda draw: f"{draw.choice(('PO', 'ORD', 'SO', 'INV'))}-{digits(draw, 7)}",
    "version": lambda draw: f"{draw.randint(0, 20)}.{draw.randint(0, 60)}.{draw.randint(0, 999)}",
    "sha": lambda draw: f"{draw.getrandbits(48):012x}",
    "sku": lambda draw: f"{draw.choice('ABKMX')}{digits(draw, 2)}-{digits(draw, 4)}-EU",
    "date": lambda draw: f"{draw.randint(1990, 2030)}-0{draw.randint(1, 9)}-{draw.randint(10, 28)}",
    "amount": lambda draw: f"{draw.randint(1, 99)},{digits(draw, 3)}.{digits(draw, 2)} USD",
    "tracking": lambda draw: f"1Z{digits(draw, 6)}{draw.choice('WXY')}{digits(draw, 8)}",
    "isbn": lambda draw: (
        f"978-{digits(draw, 1)}-{digits(draw, 4)}-{digits(draw, 4)}-{digits(draw, 1)}"
    ),
    "city": lambda draw: draw.choice(("Lisbon", "Osaka", "Nairobi", "Bergen", "Quito", "Graz")),
    "host": lambda draw: f"10.{draw.randint(0, 9)}.{draw.randint(0, 255)}.{draw.randint(1, 254)}",
    "handle": lambda draw: f"@{draw.choice(('release-bot', 'docs', 'triage', 'nightly'))}",
    "uuid": lambda draw: (
        f"{digits(draw, 8)}-{digits(draw, 4)}-4{digits(draw, 3)}-a{digits(draw, 3)}"
    ),
    "title": lambda draw: draw.choice(("Head of Sales", "Senior Nurse", "Night Porter", "Captain")),
    "company": lambda draw: draw.choice(("Alder & Finch Ltd", "Northwind Traders", "Contoso")),
}

# Sentences. A slot names the kind of its value; what a row is labelled with are its slots.
_SENTENCES = r"""
Hi, my name is {name} and I ordered a lamp two weeks ago. Could you call me back on {phone}?
Dear {name}, thank you for your letter. Your new policy will be sent to {address} within ten days.
you can reach me at {email} or just text {phone}, whatever is easier
Please forward the signed contract to {email} before Friday.
my ssn is {id_number}, is that enough to check my credit?
The patient, {name}, was admitted on Monday with chest pain and discharged on Wednesday.
I moved last month, my new address is {address}. Can you update my file?
Card number {payment}, expires 09/27, security code on the back is 123. Charge the deposit please.
Kindly wire the rent to {payment} by the first of the month.
Our guest {name} arrives at 6 pm; collect the keys from {address}.
Can you translate this into French: "Please contact {name} at {email} for the invoice."
I keep getting calls from {phone}. Who is it?
Write a short reference letter for {name}, who worked with us for three years as an accountant.
summarize: {name} ({email}) asked for a refund, agent promised to answer within 2 days
Passport {id_number} was reported lost in Vienna; the holder needs an emergency document.
Here is the guest list: {name}, {name}, {name}. Make place cards from it.
From: {email}\nTo: support\nSubject: login\n\nI tried three times, the page stays blank.
Emergency contact: {name}, {phone}.
The parcel for {name} goes to {address}, leave it with the neighbour if nobody answers.
lol just venmo me, or send it to {payment} if your bank is slow
My landlord {name} wants to raise the rent by 20 percent, is this legal?
Refund to the card ending differently: the full number is {payment}.
For payroll we need the following: {name}, tax number {id_number}, account {payment}.
Does this email look right to you? {email}
Our driver's licence scan says {id_number} but the form says otherwise, which one do I enter?
ok here's the login for the newsletter, user {email} and the usual password
we live at {address}, the house with the green door
Meet {name}, our new head of logistics, who joins us from Rotterdam.
Regards,\n{name}\n{address}\n{phone}
Draft an apology to {name} whose order was delivered twice.
I lost my wallet. The card was {payment} and my ID {id_number}. What should I block first?
call grandma at {phone} and tell her dinner is at seven
Invoice to be paid by bank transfer. IBAN: {payment}. Reference: flooring.
Is {phone} a mobile number or a landline?
The claimant, {name}, resides at {address} and is represented by counsel.
hey its {name} from the gym, lost your number, mine is {phone} now
Check whether {payment} is a valid card number.
Employee {name} (ID {id_number}) has used 14 of 25 vacation days.
Turn this into a table: {name}, {email}, {phone}; {name}, {email}, {phone}
Witness {name} stated that the van had been parked outside {address} since noon.
Reply-To: {email}
My son {name} is eight and has trouble reading, which books would help?
The visa application lists {id_number} as the number of the travel document.
A taxi to {address}, please, for two people at quarter past five.
Please book it with my card, {payment}, under the name {name}.
can u find out who owns {email}
Prescription for {name}: amoxicillin 500 mg, three times a day for seven days.
My accountant needs my tax id, it is {id_number}, and the IBAN {payment}.
Voicemail from {phone}: the meeting has moved to Thursday.
Correct the spelling: "I leave in {address} since five years and my fone is {phone}."
To whom it may concern: {name}, national insurance number {id_number}, is our tenant.
Send the flowers to {address} with a note that says Get well soon.
Our database has two people called {name}. How do I merge them?
I was born in Graz and my social security number is {id_number}. Fill in the form for me.
Add {email} and {email} to the invitation.
The courier could not find {address}. Is there a side entrance?
the guy who sold me the bike was {name}, he gave me {phone} and now nobody picks up
Write a birthday poem for {name} who loves sailing.
Autofill: {name} / {address} / {phone} / {email}
What does the error "recipient {email} rejected" mean?
Standing order of 50 euros from {payment} to the tennis club.
My health card says {id_number}, do I need to bring it along?
Dr. appointment: {name}, Tuesday 9:40, bring the referral.
Is it safe that my bank shows the whole number {payment} in its mails?
Please cancel the subscription for {email}; I never signed up for it.
{name} and {name} are getting married in June. Suggest a toast.
Reminder for tenants of {address}: the water will be off on Tuesday morning.
Our passport numbers are {id_number} and {id_number}, we both need a window seat.
I typed {phone} into the form and it says the format is invalid.
The reviewer, {name}, asked for two more experiments.
As discussed on the phone ({phone}), the repair will cost about 300.
Set the billing address to {address} and the delivery address to {address}.
Why was {payment} declined although there is enough money?
Text {name} that I am running ten minutes late.
docs say to use a placeholder such as {email} in the config, where do I put it?
Licence plate unknown, driver {name}, licence {id_number}, no injuries.
Split the bill: {name} owes 12, {name} owes 30.
write me a cover letter, i am {name}, i live at {address}, email {email}, i want to work as a baker
Our pension fund needs your insurance number; ours on file is {id_number}. Correct?
My debit card {payment} was swallowed by the machine at the station.
"""
# The same without personal data: numbers, places, companies, people of history.
_PLAIN_SENTENCES = r"""
My order {order} has not arrived, tracking says {tracking}.
What changed between version {version} and {version}?
The museum on the main square opens at ten and closes at six.
Marie Curie received two Nobel Prizes. Explain what for.
Write an essay about Isaac Newton and Gottfried Leibniz and who invented calculus.
Build {sha} failed on host {host}, please restart the job.
What is the area code of Chicago?
How do I format a phone number with a regular expression?
Explain how the check digit of a credit card number is computed.
What is an IBAN and why does every country have another length?
The invoice total is {amount}, due on {date}.
ISBN {isbn} is out of print, can you suggest another edition?
Calculate 415 * 303 - 1000 and round to tens.
Our office in {city} moves to a bigger building next spring.
Is a passport needed to travel from {city} to {city}?
Which form do I need to get a tax number for a new company?
Part {sku} replaces {sku}; both fit the same bracket.
The train leaves platform 4 at 18:32 and arrives at 21:07.
How long must a company keep the addresses of former customers by law?
Never send your card number by e-mail. Explain to my team why.
Translate "What is your name?" into Portuguese.
The request id is {uuid}, can you look up the logs?
Why do people in Iceland have no family names?
Released on {date}: faster start, smaller download, and 42 fixed bugs.
Downing Street and the White House did not comment.
Give me five names for a grey cat.
Who was the first person on the moon?
Ask {handle} to rerun the nightly build.
Serial number {sku}, firmware {version}, warranty until {date}.
The sum of 555 and 0199 is what?
What does the at sign in an e-mail address stand for?
Generate a random UUID, like {uuid}.
Which e-mail provider is best for a small bakery?
The recipe needs 250 g flour, 3 eggs and 0.5 l milk; bake at 180 degrees for 40 minutes.
Flight LX 318 to {city} is delayed by 45 minutes.
Can I get a refund for order {order}? I paid {amount}.
Our hotline is open from 9 to 5 on weekdays.
Tell me about the novel in which Sherlock Holmes lives in Baker Street.
What is the population of {city}?
Explain the difference between a social security number and a tax number.
In chess, is 1. e4 e5 2. Nf3 Nc6 3. Bb5 a good opening?
Bus 17 stops at the hospital, the library and the stadium.
Set the timeout to 30000 and the port to 5432, then connect to {host}.
The {title} must sign the form before {date}.
{company} reported a profit of {amount} last year.
My mother forgot her password again. How can she reset it?
Coordinates 47.0707, 15.4395 are in which country?
How should I store card data so that an audit has nothing to complain about?
Commit {sha} breaks the tests on Windows.
Compare the Treaty of 1648 with the one of 1815.
The password must have 12 characters and one digit.
Lake Victoria is named after a queen. Which other lakes are?
SELECT count(*) FROM orders WHERE created > '{date}';
Draft a privacy notice that says which personal data a newsletter collects.
Meeting notes {date}: budget approved, hiring paused, next review in June.
Product {sku} weighs 1.25 kg and measures 30 x 20 x 10 cm.
What is the emergency number in Europe?
Beethoven wrote nine symphonies; which one is the shortest?
The lottery numbers were 4, 8, 15, 16, 23 and 42.
Add a column for the phone number to the table and leave it empty.
Ticket {order}: printer on floor 3 prints blank pages.
Is 2147483647 a prime number?
Shipping to {city} takes four to six working days.
RFC 2822 section 3.4 describes the form of addresses. Summarise it.
Please mask every e-mail address in my log files before I share them. How?
The temperature rose from 12.5 to 19.8 degrees between {date} and {date}.
Room 204 is free on Tuesday from 14:00 to 15:30.
Jupiter has 95 known moons, Saturn 146.
"""


def main() -> None:
    """Write all rows, one a line."""
    sys.stdout.reconfigure(encoding="utf-8", newline="\n")  # type: ignore[union-attr]
    for row in rows():
        sys.stdout.write(json.dumps(row, ensure_ascii=False) + "\n")


def rows() -> Iterator[dict[str, object]]:
    """Yield rows: text, group, `pii`, `spans`, and a source of its own for unseen templates."""
    draw = random.Random(SEED)  # noqa: S311 - not for secrets
    for template in lines_of(_SENTENCES) + lines_of(_PLAIN_SENTENCES):
        yield from _filled(template, _ROWS_OF_TEMPLATE if "{" in template else 1, draw)
    for frame in _FRAMES:
        for kind in (*KINDS, *PLAIN):
            n_rows = _ROWS_OF_FRAME if kind in KINDS else 1
            yield from (_framed(frame, kind, draw) for _ in range(n_rows))
    yield from other_texts({"pii": [], "spans": []}, draw)


def other_texts(labels: dict[str, object], draw: random.Random) -> Iterator[dict[str, object]]:
    """Yield prompts of contrast.jsonl that have neither numbers nor names, with these labels."""
    lines = (Path(__file__).parent / "contrast.jsonl").read_text(encoding="utf-8").splitlines()
    plain = [
        row
        for row in map(json.loads, lines)
        if not re.search(r"[\d@]|(?<=[a-z,] )[A-Z][a-z]", row["text"])
    ]
    for row in draw.sample(plain, _OTHER_TEXTS):
        yield {"text": row["text"], "group": row["group"], **labels}


def is_unseen(template: str, share: float) -> bool:
    """Tell by a template's text alone whether its rows are only measured."""
    return hashlib.sha256(template.encode()).digest()[0] < 256 * share


def lines_of(block: str) -> list[str]:
    """Return the templates of a block, one a line, with their line breaks."""
    lines = block.strip().splitlines()
    return [line.replace("\\n", "\n").replace("\\r", "\r") for line in lines]


def fill(
    template: str, value: Callable[[str], str], label: Callable[[str], str | None]
) -> tuple[str, list[dict[str, object]]]:
    """Return a template's text and the spans of its labelled values, in code points.

    Args:
        template: with slots as in `str.format`.
        value: gives the value of a slot each time that it stands in the template, in its order.
        label: gives the label of a slot's span, None for one without.
    """
    text = ""
    spans: list[dict[str, object]] = []
    for literal, slot, _, _ in string.Formatter().parse(template):
        text += literal
        if slot is None:
            continue
        found = value(slot)
        kind = label(slot)
        if kind is not None:
            spans.append({"start": len(text), "end": len(text) + len(found), "label": kind})
        text += found
    return text, spans


def _filled(template: str, n_rows: int, draw: random.Random) -> Iterator[dict[str, object]]:
    slots = set(re.findall(r"\{(\w+)\}", template))
    for _ in range(n_rows):
        text, spans = fill(
            template, lambda slot: (VALUES.get(slot) or PLAIN[slot])(draw), SPAN_LABELS.get
        )
        yield _row(text, template, [kind for kind in KINDS if kind in slots], spans)


def _framed(frame: str, kind: str, draw: random.Random) -> dict[str, object]:
    key = draw.choice(_KEYS[kind]) if kind in _KEYS else kind
    values = {
        "k": key,
        "K": key.replace("_", " ").capitalize(),
        "U": key.upper(),
        "v": (VALUES.get(kind) or PLAIN[kind])(draw),
        "w": digits(draw, 4).lstrip("0") or "7",
        "d": str(draw.randint(0, 9)),
    }
    labels = {"v": SPAN_LABELS.get(kind)}
    text, spans = fill(frame, values.__getitem__, labels.get)
    return _row(text, frame, [kind] if kind in KINDS else [], spans)


def _row(
    text: str, template: str, kinds: list[str], spans: list[dict[str, object]]
) -> dict[str, object]:
    group = f"pii-{hashlib.sha256(template.encode()).hexdigest()[:8]}"
    row: dict[str, object] = {"text": text, "group": group, "pii": kinds, "spans": spans}
    return row | {"source": UNSEEN_SOURCE} if is_unseen(template, _UNSEEN_SHARE) else row


if __name__ == "__main__":
    main()
