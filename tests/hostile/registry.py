# SPDX-License-Identifier: MIT
"""registry.py - the list of cases, and what each expects of the client.

    @case("datain", "DIN-03", LOST)
    class offset_past_the_end(Target):
        '''What the target does wrong.'''

want is a set of exit codes of `lunette` (see lunette(1)).
"""
OK = frozenset([0])
USAGE = frozenset([2])
CONNECT = frozenset([3])
LOGIN = frozenset([4])
NOT_FOUND = frozenset([5])
SCSI = frozenset([6])
TIMEOUT = frozenset([7])
PROTOCOL = frozenset([9])
# The connection was ended over a breach of the protocol (which a command under way may only see
# as a lost connection), or by the peer.
LOST = CONNECT | PROTOCOL
# A login that broke down without a status from the target.
BROKEN_LOGIN = LOGIN | LOST
# Any failure but a wrong command line or a verify mismatch.
FAILS = frozenset([1, 3, 4, 5, 6, 7, 9])
ANY = OK | FAILS

CASES = {}


class Case:
    def __init__(self, group, ids, want, target, run="read", url="", user="", seconds=10, text=None,
                 seen=(), quiet=False, env=None, output=None):
        self.group, self.ids, self.want, self.target, self.run = group, ids, want, target, run
        self.url = url            # more URL options
        self.user = user          # user%secret
        self.seconds = seconds    # the client must end within
        self.text = text          # regular expression that stderr (without the URL) must match
        self.seen = seen          # what the target must have seen
        self.quiet = quiet        # True: the initiator's PDUs are not judged
        self.env = env or {}
        self.output = output      # regular expression that stdout must match on success
        self.name = target.__name__.strip("_")
        self.about = (target.__doc__ or "").strip()


def case(group, ids, want, **options):
    def register(target):
        name = target.__name__.strip("_")
        assert name not in CASES, name
        CASES[name] = Case(group, ids, want, target, **options)
        return target
    return register


def variant(base, name, about, group, ids, want, options=None, **attributes):
    """Registers a subclass of base that differs by attributes."""
    target = type(name, (base,), dict(attributes, __doc__=about))
    case(group, ids, want, **(options or {}))(target)
    return target
