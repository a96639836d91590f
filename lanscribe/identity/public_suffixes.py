"""Which names are public suffixes, below which anybody registers domains: com, box, co.uk."""

from collections.abc import Iterable
from functools import lru_cache


def public_suffixes(names: Iterable[str]) -> frozenset[str]:
    """Those of these names, in lower case, that ICANN's section of the Public Suffix List has."""
    return _found(frozenset(names))


@lru_cache(maxsize=4)
def _found(names: frozenset[str]) -> frozenset[str]:
    """Read the list only for names that were not asked for before: about 40 ms, 3.5 MB."""
    from publicsuffixlist import PublicSuffixList  # noqa: PLC0415  few commands ask for names

    known = PublicSuffixList(accept_unknown=False, only_icann=True)
    return frozenset(name for name in names if known.publicsuffix(name) == name)
