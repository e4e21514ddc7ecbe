"""Say what energy leaves behind: carbon and water where the power is made, and the making of the chips."""

from dataclasses import dataclass

from bursar.core.errors import ConfigError
from bursar.physics.cost import HOURS_PER_YEAR, JOULES_PER_KWH
from bursar.physics.energy import Energy


@dataclass(frozen=True, slots=True)
class Region:
    """Hold a place's electricity: grams of CO2 equivalent a kWh, location-based, on average over a year.

    `name` is a country's ISO code of three letters. `water_l_per_kwh` is what making the electricity evaporates, None
    where nobody says it. No hour is told from another, and offsets bought elsewhere are left out.
    """

    name: str
    place: str
    carbon_g_per_kwh: float
    year: int
    source: str
    water_l_per_kwh: float | None = None


@dataclass(frozen=True, slots=True)
class Building:
    """Hold what a data centre adds: litres evaporated on site for a kWh of the servers, and the making of the hardware.

    `embodied_kg_per_chip` is a chip with its share of a server, spread over `life_years` of which the share `used` is
    spent serving.
    """

    water_l_per_kwh: float = 0.0
    embodied_kg_per_chip: float = 0.0
    life_years: float = 3.0
    used: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        for name in ("water_l_per_kwh", "embodied_kg_per_chip"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"{name} is {getattr(self, name)!r}; it cannot be below 0")
        if not (self.life_years > 0 and 0 < self.used <= 1):
            raise ConfigError(
                f"life_years is {self.life_years!r} and used {self.used!r}; give years above 0 and a share above 0"
            )


@dataclass(frozen=True, slots=True)
class Footprint:
    """Hold what a step leaves behind, with its 90 % interval, where and of which year.

    The interval is that of the energy; how carbon and water differ from hour to hour is not in it. `water_l` is None
    where the region's water is unknown.
    """

    carbon_g: float
    low_g: float
    high_g: float
    embodied_g: float
    water_l: float | None
    region: str
    year: int
    source: str
    extrapolates: tuple[str, ...]

    @property
    def total_g(self) -> float:
        """Give carbon of use and of making together."""
        return self.carbon_g + self.embodied_g


def footprint(energy: Energy, chips: int, region: Region, building: Building | None = None) -> Footprint:
    """Work out what a step leaves behind.

    Water is E_servers x (WUE on site + PUE x WUE of the electricity), carbon E x intensity; making the hardware is
    spread over the seconds it serves. Source: Li et al., arXiv 2304.03271 (water); ISO 14044's allocation by time.
    """
    building = building or Building()
    kwh = energy.total_j / JOULES_PER_KWH
    servers_kwh = kwh - energy.building_j / JOULES_PER_KWH
    off_site = region.water_l_per_kwh
    carbon_g = kwh * region.carbon_g_per_kwh
    serving_s = building.life_years * HOURS_PER_YEAR * 3_600 * building.used
    return Footprint(
        carbon_g=carbon_g,
        low_g=carbon_g * energy.low,
        high_g=carbon_g * energy.high,
        embodied_g=chips * building.embodied_kg_per_chip * 1_000 * energy.seconds / serving_s,
        water_l=None if off_site is None else servers_kwh * building.water_l_per_kwh + kwh * off_site,
        region=region.name,
        year=region.year,
        source=region.source,
        extrapolates=energy.extrapolates,
    )
