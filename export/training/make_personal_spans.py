"""Writes personal_spans.jsonl: texts of many kinds with the places of the personal data in them.

    python export/training/make_personal_spans.py > export/training/personal_spans.jsonl

Letters, chats, records, logs and code with invented values, see personal_values.py, and as many
forms of text without any: orders, versions, news of public persons, questions about such data. Two
fifths of the rows have no span. `spans` are in code points, `end` the one behind the last.

Templates that are only measured, a quarter drawn by their text, have a source of their own, and
their names, streets, towns and mailboxes are in no learned row.
"""

import hashlib
import json
import random
import sys
from collections.abc import Iterator

from make_personal_data import fill, is_unseen, lines_of, other_texts
from personal_values import LEARNED, PERSONAL, PLAIN, UNSEEN, first_name

SEED = 20262
UNSEEN_SOURCE = "hazgate_spans_unseen"
_UNSEEN_SHARE = 0.25
_ROWS_OF_TEMPLATE = 14
_ROWS_OF_PLAIN_TEMPLATE = 6
_ROWS_OF_FRAME = 4
# A slot for a first name alone; its span is one of a name.
_FIRST_NAME = "first"
_KEYS: dict[str, tuple[str, ...]] = {
    "name": ("name", "full_name", "patient", "customer", "account_holder", "reported_by"),
    "email": ("email", "mail", "contact", "reply_to", "login"),
    "phone": ("phone", "mobile", "tel", "fax", "emergency_contact"),
    "address": ("address", "ship_to", "residence", "billing_address"),
    "date_of_birth": ("dob", "date_of_birth", "birthdate", "born"),
    "id_number": ("ssn", "passport", "tax_id", "national_id", "licence_no"),
    "payment": ("card", "iban", "pan", "account_number", "card_number"),
    "ip_address": ("ip", "client_ip", "remote_addr", "host", "source_ip"),
    "secret": ("password", "api_key", "token", "secret", "passwd"),
}

# One field of a record. {k} is its key, {v} its value, {w} and {d} are harmless numbers.
_FRAMES = (
    '{{"{k}": "{v}", "active": true, "retries": {w}}}',
    '{{"record": {w}, "fields": {{"{k}": "{v}"}}}}',
    "{k}: {v}",
    "{k}={v}",
    "{k} = '{v}'",
    "{K}:\t{v}\tchecked",
    "{K} ........ {v}",
    "* {k}: {v}\n* updated: 2025-02-1{d}\n* priority: low",
    "nr,{k},status\n{w},{v},open",
    "{w}|{v}|0|closed",
    "2025-06-0{d} 11:4{d}:02 INFO form: {k}={v} saved in {w} ms",
    "WARN [worker-{d}] field {k} has an odd value: {v}",
    "<row id='{w}'><{k}>{v}</{k}></row>",
    "INSERT INTO visits ({k}, shard) VALUES ('{v}', {d});",
    "UPDATE t SET {k} = '{v}' WHERE row = {w};",
    'record["{k}"] = "{v}"  # row {w}',
    'const {k} = "{v}";\nrun({w});',
    "export {U}={v}",
    "--{k} {v} --limit {w}",
    "# test data\nitem_{w}:\n  {k}: {v}\n  done: false",
    "| {k} | {v} |\n| rows | {w} |",
    "**{K}**: {v}",
    "{K}? {v}. Anything else?",
    "the {k} on file is {v}, please confirm",
    "Old {k}: none\r\nNew {k}: {v}\r\nTicket: {w}",
    "?{k}={v}&page={w}",
    "Scan {d}/9 | {K} {v} | unreadable",
    "[{k}] {v} (case {w})",
    "> {K}: {v}\n\nThanks, noted under {w}.",
    "✅ {K} {v} ✔ {w}",
)

_SENTENCES = r"""
Hi, this is {name}. Could you ring me back on {phone} after five?
Dear {name},\n\nyour contract is enclosed. Please return it to {email}.\n\nKind regards,\n{name}
My name is {name}, born {date_of_birth}, and I would like to change my address to {address}.
you can mail me: {email} or call {phone}
Please send the keys to {name}, {address}.
hey {first}, it's {first} - new number, save it: {phone}
Patient {name}, DOB {date_of_birth}, presented with a sore throat and fever for three days.
Discharge letter: {name} (born on {date_of_birth}), {address}, was treated from Monday to Friday.
The login is {email} and the password is {secret}, don't tell anyone
our wifi password is {secret} and the printer sits at {ip_address}
ssh into {ip_address} as root, pw: {secret}
Set the key with `export API_KEY={secret}` before you run the script.
Failed login for {email} from {ip_address} at 03:14.
Blocked {ip_address} after 12 attempts.
{ip_address} - - [12/Mar/2024:10:02:11 +0000] "GET /index.html HTTP/1.1" 200 5120
Server {ip_address} does not answer on port 5432, the replica {ip_address} does.
Charge the card {payment}, exp 11/28, for two nights.
Please transfer the deposit to {payment}, account holder {name}.
My card number is {payment} and it was declined twice.
IBAN {payment}\nName: {name}\nReference: invoice 2231
Her social security number is {id_number} and she lives at {address}.
Passport no. {id_number}, issued to {name}, valid until 2031.
For the tax return: {name}, tax id {id_number}, date of birth {date_of_birth}.
Driver {name}, licence {id_number}, was not at fault.
Invite {first}, {first} and {first} for dinner on Saturday.
Tell {first} that the plumber comes at nine.
I talked to {name} from accounting, she said to write to {email}.
{name} called about the invoice; call back: {phone}.
From: {name} <{email}>\nTo: {email}\nSubject: Lunch
Cc: {email}; {email}
On Tue, {name} <{email}> wrote:\n> see you at noon
Best,\n{first}\n\n{name}\n{phone}\n{email}
{name}\n{address}\n\nTo the tax office
Ship to: {name}, {address}. Phone for the courier: {phone}.
Signature: {name}   Place: Graz   Date: today
Emergency contact is my sister {name} ({phone}).
The tenant at {address} has not paid since March.
we're at {address}, ring twice 🔔
🎉 Happy birthday {first}! Party at {address} 🎂
😀😀 call me {first} {phone} 😀
Guest list\r\n1. {name}\r\n2. {name}\r\n3. {name}
Attendees: {name}, {name} and {name}. Apologies: {name}.
Employee no. 4417, {name}, started in the warehouse in May.
Write a reference for {name}, who was my tenant for two years.
Translate to German: "{name} lives at {address}."
Summarise this mail: "Hello, I am {name}. My parcel for {address} is missing. Reach me at {email}."
Extract all names from: {name} met {name} at the station.
Is {email} a real address or spam?
Who called me from {phone}?
Which bank does {payment} belong to?
Which country does {ip_address} come from?
Is {id_number} a valid number?
Is {secret} a strong password?
I forgot whether it was {secret} or {secret}.
My new pin and passphrase: {secret}. Write it down.
bearer token: {secret}
Authorization: Bearer {secret}\nHost: api.example.com
db_url = "postgres://admin:{secret}@{ip_address}:5432/shop"
git clone with user {email}, token {secret}
User {email} signed up from {ip_address} on 2024-02-03.
I was born on {date_of_birth} in a small village.
She turned forty, her birthday is {date_of_birth}.
Child: {name}, born {date_of_birth}. Parents: {name}, {name}.
Age check: customer says born {date_of_birth}, document says {date_of_birth}.
Appointment for {name} ({date_of_birth}) on Thursday at 9:15 with Dr. {first}.
{name} vs. {name}: the hearing is on Monday in room 4.
Witness {name}, residing at {address}, gave a statement.
The claimant's phone was {phone}; the landlord's is not known.
our nanny {first} lives in {address}
can u pick up {first} from school? her teacher is {name}
Mr {first} from number 12 asked for you.
Book a table under {name}, phone {phone}, six people.
Reservation {name}, arriving 18:00, card {payment}.
Frequent flyer: {name}, passport {id_number}, born {date_of_birth}.
Hotel form\nSurname, name: {name}\nBorn: {date_of_birth}\nPassport: {id_number}\nHome: {address}
CREATE USER for {name}: mail {email}, initial password {secret}
Refund 30 euros to {payment} ({name}).
The donation came from {name}, {payment}.
I lost my card {payment}. Also my licence {id_number}. Block both.
Forward the payslip of {name} to {email} by tonight.
Insurance: policy holder {name}, {address}, insured since 2011.
Please remove {phone} and {email} from your list.
contact form: name={name}&mail={email}&tel={phone}
New lead: {name} | {email} | {phone} | wants a quote
Delivery note. Recipient {name}. Address {address}. No signature needed.
The neighbours, {name} and {name}, heard it as well.
My doctor is {name} and her number is {phone}.
Add to contacts: {name}, mobile {phone}, work {phone}, {email}
BEGIN:VCARD\nFN:{name}\nTEL:{phone}\nEMAIL:{email}\nBDAY:{date_of_birth}\nEND:VCARD
Voice note: this is {name}, my number is {phone}, I repeat, {phone}.
Chat\n{first}: where are you?\n{first}: on the train\n{first}: ok
{first} wrote the report, {first} checked it, and I sent it off.
Could {first} review my change before lunch?
Thanks {first}! I'll send it to {email} then.
"Good morning," said {first}, "have you seen my keys?"
Write a poem for my girlfriend {first}.
My boss {name} never answers mails. How do I tell him?
Is there a way to find the address of {name} from {phone}?
The account {payment} was opened by {name}, born {date_of_birth}.
Student {name}, id {id_number}, failed the course twice.
Payroll: {name}, {id_number}, {payment}, {address}
Traceroute to {ip_address}: hop 3 is {ip_address}, 14 ms.
allow from {ip_address}\ndeny from all
nameserver {ip_address}
Which of you changed the root password to {secret}?
The door code is secret, the wifi is {secret}.
She moved from {address} to {address} last year.
Meet at {address} at half past seven, bring the drill.
A cab from {address} to {address}, please.
Registered office of the buyer: {name}, {address}, VAT not applicable.
To pay by phone call {phone} and quote your card {payment}.
Hello {name}, we have received your complaint of last week and will reply to {email}.
My email changed from {email} to {email}.
What should I write to {name}, whose father has died?
Doctor's note for {name}: unfit for work until Friday.
Reach {name} at {email} or {phone}.
Ask {name} at the front desk; her mail is {email}.
{name}, {email}, {phone}
{name};{address};{phone};{email}
ADR;HOME:{address}\nTEL;CELL:{phone}\nEMAIL;WORK:{email}\nN:{name}
redis://:{secret}@{ip_address}:6379/0
mysql -h {ip_address} -u shop -p{secret}
ping {ip_address} (port 8080 is open, 443 is not)
DOB {date_of_birth}, SSN {id_number}, card {payment}.
{id_number} / {payment} / {name}
Row 17: {name}, {id_number}, {address}, {payment}
name: {name}\nbirth: {date_of_birth}\nstreet: {address}\nmail: {email}\nphone: {phone}
"""
# The same kinds of text without personal data.
_PLAIN_SENTENCES = r"""
My order {order} is late, the tracking number is {tracking}.
Upgrade from {version} to {version} before {date}.
The meeting on {date} is moved to {date}, {time}.
Invoice of {date}: {amount}, payable within 30 days.
{figure} was born in another century. Tell me about that life.
Compare {figure} and {figure}.
Write an essay about {figure} for my school.
{figure} met {figure}'s critics in the film; who played the part?
A quote by {figure} about courage?
The president of France, {figure}, spoke in {city} on {date}.
Parliament debated until {time}; {figure} was quoted twice.
In {year}, {figure} changed how people thought about the subject.
{company} reported {amount} for the quarter that ended on {date}.
{company} opens a plant in {city} in {year}.
The {title} of {company} resigned on {date}.
My {product} does not start after the update {version}.
Is the {product} better than the {product}?
Chrome {long_version} crashes on {product}.
Build {sha}, image {hash}, released {date}.
Commit {sha} of {date} broke the build.
Part {part} fits in place of {part}.
Serial {sku}, firmware {version}, made {date}.
Case {case} was dismissed on {date}.
Request {uuid} took {count} ms at {time}.
ISBN {isbn}, {year}, {count} copies.
Flight leaves {city} at {time} and lands in {city} at {time}.
Call 911 in an emergency, or 112 in Europe.
Our hotline is free of charge. How should it be answered?
Format a phone number as (xxx) xxx-xxxx in Python.
What does a valid e-mail address look like?
Replace the placeholder <your-name> and <your-email> in the template.
Write a regular expression that finds IPv4 addresses.
What is the difference between IPv4 and IPv6?
How many digits has a card number, and what is the last one for?
Explain what an IBAN is.
How long should a password be?
My password does not work. How can I reset it?
Generate a strong password for me.
Never commit API keys to the repository. How do I rotate one?
Is a date of birth personal data?
When was the company founded, {date} or {date}?
Population of {city} in {year}: {count}.
{count} of {count} tests passed in {time} minutes.
The score was {count} to {count}.
SELECT id FROM orders WHERE day = '{date}' AND total > {count};
for i in range({count}):\n    print(i)
def add(a, b):\n    return a + b\n\nassert add({count}, 2) > 0
x = {count} * {count} - {year}
Warranty until {date}, article {sku}.
Room {count}, floor 3, from {time} to {time}.
Ticket {order}: printer in {city} jams since {date}.
Bus 17 from the station at {time}, every ten minutes.
Coordinates 48.2082, 16.3738 are where?
The White House and 10 Downing Street did not comment.
Recipe: 250 g flour, 3 eggs, {count} ml milk, 180 degrees, until {time}.
Who wrote Hamlet?
Who is the tallest player of all time?
Paris Hilton or the Hilton in Paris, which is older?
Is Jordan a country or a name?
The Morgan library in New York opens at {time}.
Ford and Toyota recall cars built in {year}.
Johnson & Johnson and Morgan Stanley rose on {date}.
Mount Victoria, Lake Charles and St. Petersburg: where are they?
May is a month and also a word. Use it in three sentences.
Will Mark be a verb here? "Mark the correct answer."
Bill the customer and grace the table: explain the verbs.
The rose and the lily in the green park; write a haiku.
Python, Java, Ruby and Julia: which one is the fastest?
Translate "Where is the next pharmacy?" into Spanish.
Name three characters of Harry Potter.
What did Sherlock Holmes say to Dr. Watson?
Romeo and Juliet in two sentences, please.
The Treaty of {year} was signed in {city}.
On {date} the temperature rose to {count} degrees.
Shares fell by 3.{count} percent on {date}.
{date} {time} INFO job {uuid} finished
{date},{amount},{order}
version: {version}\nreleased: {date}\nchecksum: {hash}
"id": {count}, "sku": "{sku}", "shipped": "{date}"
Due {date}. Reminder on {date}. Closed {date}.
The deadline is {date}, not {date}.
Expiry {date}, batch {part}.
Ask {handle} to merge it.
Chapter {count}, page {count}, line 4.
Pi is 3.14159265358979, e is 2.71828182845905.
Multiply 555 by 0100 and add {count}.
The number 4 8 15 16 23 42 appears in a series.
Phone: see the notice at the door. Address: unknown.
Name:\nAddress:\nDate of birth:\nPhone:
name,email,phone\n,,
Fill in your name, address and account number below.
The customer did not give a name or an e-mail address.
We do not store addresses or card numbers.
localhost:8080 is already in use, try port {count}.
Open https://docs.example.com/guide/{version}/install and follow step 3.
https://shop.example/item/{count}?ref={sha}
SHA {hash} does not match.
License: MIT, copyright {year} the authors.
RFC {count}, section 4.2.1, says otherwise.
Model {sku} draws {count} W at 230 V.
Train {count} to {city}, platform 4, {time}.
The {title} and the {title} must both sign.
Thank you for calling. Your call may be recorded.
Dear customer, your order {order} left our warehouse in {city} on {date}.
Dear Sir or Madam, I write to complain about order {order}.
hi there, is {company} hiring a {title}?
Mum says dinner is at {time}, bring bread
my brother and my aunt arrive on {date}
the manager told the new intern to wait until {date}
A user from {city} reported error {count} in {version}.
name: nightly-build-{count}\nhost: db-{count}
{{"name": "{company}", "type": "supplier", "since": {year}}}
{{"name": "{product}", "price": "{amount}", "address": "0x7ffe{count}"}}
"token": {count}, "max_tokens": {count}, "address": "0x{sha}"
password: ********
password = os.environ["DB_PASSWORD"]
api_key: ${{API_KEY}}
token = read_secret("payments", version={count})
card: queen of hearts, account: premium
contact: front desk, phone: none, mail: none
born in {city}, moved to {city} in {year}
Passport control closes at {time}; bring your boarding card.
The address bar shows an error, and the name of the file is report-{count}.pdf.
user=guest role=reader quota={count}
Names such as {figure} are not allowed as passwords.
By our correspondent in {city}: the minister and {company} agreed on {date}.
After {figure}, the prize went to a team from {city} in {year}.
mutex.lock(); tokens[{count}] = next; mutex.unlock();
docker run -p {count}:80 registry.example/app:{version}
<html><head><title>Page {count}</title></head></html>
Windows {long_version} and Office {long_version} are affected.
Dial zero for the reception, room numbers begin with {count}.
pip install {handle}=={version}
"dependencies": {{"left-pad": "^{version}", "yaml": "~{version}"}}
{date} {time} ERROR job {uuid} failed after {count} s
{time} INFO request {uuid} from worker-{count} took {count} ms
The words are alpha beta gamma {count} and {count}.
1. e4 c5 2. Nf3 d6 3. d4 cxd4 4. Nxd4, and then?
The offer ends on {date}, valid from {date} until {date}.
{company}'s chief executive, {figure}, said on {date} that {city} was next.
api.example.com answers with status {count}, see docs.example.org
Type A{count}, size {count}, colour {sku}.
"""


def rows() -> Iterator[dict[str, object]]:
    """Yield rows: text, group, `spans`, and a source of their own for the unseen templates."""
    draw = random.Random(SEED)  # noqa: S311 - not for secrets
    for template in lines_of(_SENTENCES):
        for _ in range(_ROWS_OF_TEMPLATE):
            yield _sentence(template, draw)
    for template in lines_of(_PLAIN_SENTENCES):
        for _ in range(_ROWS_OF_PLAIN_TEMPLATE if "{" in template else 1):
            yield _sentence(template, draw)
    for frame in _FRAMES:
        for kind in PERSONAL:
            for _ in range(_ROWS_OF_FRAME):
                yield _framed(frame, kind, draw)
        for kind in PLAIN:
            yield _framed(frame, kind, draw)
    yield from other_texts({"spans": []}, draw)


def main() -> None:
    """Write all rows, one a line."""
    sys.stdout.reconfigure(encoding="utf-8", newline="\n")  # type: ignore[union-attr]
    for row in rows():
        sys.stdout.write(json.dumps(row, ensure_ascii=False) + "\n")


def _sentence(template: str, draw: random.Random) -> dict[str, object]:
    text, spans = fill(template, lambda slot: _value(slot, template, draw), _label)
    return _row(text, template, spans)


def _framed(frame: str, kind: str, draw: random.Random) -> dict[str, object]:
    key = draw.choice(_KEYS[kind]) if kind in _KEYS else kind
    values = {
        "k": key,
        "K": key.replace("_", " ").capitalize(),
        "U": key.upper(),
        "v": _value(kind, frame, draw),
        "w": str(draw.randint(2, 9999)),
        "d": str(draw.randint(0, 9)),
    }
    labels = {"v": _label(kind)}
    text, spans = fill(frame, values.__getitem__, labels.get)
    return _row(text, frame, spans)


def _value(slot: str, template: str, draw: random.Random) -> str:
    pool = UNSEEN if is_unseen(template, _UNSEEN_SHARE) else LEARNED
    if slot == _FIRST_NAME:
        return first_name(draw, pool)
    return PERSONAL[slot](draw, pool) if slot in PERSONAL else PLAIN[slot](draw)


def _label(slot: str) -> str | None:
    if slot == _FIRST_NAME:
        return "name"
    return slot if slot in PERSONAL else None


def _row(text: str, template: str, spans: list[dict[str, object]]) -> dict[str, object]:
    group = f"spans-{hashlib.sha256(template.encode()).hexdigest()[:8]}"
    row: dict[str, object] = {"text": text, "group": group, "spans": spans}
    return row | {"source": UNSEEN_SOURCE} if is_unseen(template, _UNSEEN_SHARE) else row


if __name__ == "__main__":
    main()
