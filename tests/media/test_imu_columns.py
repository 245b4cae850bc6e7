"""IMU tables of other programs: columns by name, units and times as their headers say, or a refusal."""

# ruff: noqa: E501
import math
from datetime import datetime, timedelta

import numpy as np
import pytest
import torch

from imagebind_llm.common.modality import Modality
from imagebind_llm.media import ImuSettings, MediaError, MediaSettings, guess_modality, load_media
from imagebind_llm.media.imu import imu_to_tensor, load_imu

G = 9.80665
DEGREE = math.pi / 180
RATE = 100.0
EPOCH = 1403636579758555392
"""Nanoseconds, from a EuRoC file: more digits than a float64 has."""


@pytest.fixture(scope="module")
def readings():
    """``[300, 6]`` in m/s² and rad/s, gravity on z."""
    values = np.random.default_rng(4).normal(size=(300, 6)) * [1, 1, 1, 0.5, 0.5, 0.5]
    values[:, 2] += G
    return values


def seconds(readings):
    return np.arange(len(readings)) / RATE


def table(header: str, *columns, separator: str = ",") -> bytes:
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return "\n".join([header, *(separator.join(map(repr, row)) for row in rows)]).encode()


def expected(readings):
    return imu_to_tensor(readings, RATE, ImuSettings()).numpy()


def check(data: bytes, readings, tolerance: float = 2e-4):
    found = load_imu(data, ImuSettings()).numpy()
    np.testing.assert_allclose(found, expected(readings), atol=tolerance)


NAMES = {
    "EuRoC, TUM-VI": "#timestamp [s],w_RS_S_x [rad s^-1],w_RS_S_y [rad s^-1],w_RS_S_z [rad s^-1],"
    "a_RS_S_x [m s^-2],a_RS_S_y [m s^-2],a_RS_S_z [m s^-2]",
    "ROS": "%time,angular_velocity_x,angular_velocity_y,angular_velocity_z,linear_acceleration_x,"
    "linear_acceleration_y,linear_acceleration_z",
    "ROS fields": "field.header.stamp,field.angular_velocity.x,field.angular_velocity.y,field.angular_velocity.z,"
    "field.linear_acceleration.x,field.linear_acceleration.y,field.linear_acceleration.z",
    "short": "t,wx,wy,wz,ax,ay,az",
    "prefix": "timestamp,imu0_gyro_x,imu0_gyro_y,imu0_gyro_z,imu0_acc_x,imu0_acc_y,imu0_acc_z",
    "phyphox": '"Time (s)","Gyroscope x (rad/s)","Gyroscope y (rad/s)","Gyroscope z (rad/s)",'
    '"Acceleration x (m/s^2)","Acceleration y (m/s^2)","Acceleration z (m/s^2)"',
    "Sensor Logger": "seconds_elapsed,gyroscope_x,gyroscope_y,gyroscope_z,accelerometer_x,accelerometer_y,accelerometer_z",
    "PAMAP2": "timestamp,hand_gyroscope_x,hand_gyroscope_y,hand_gyroscope_z,hand_acceleration_x,"
    "hand_acceleration_y,hand_acceleration_z",
    "Xsens": "SampleTime,Gyr_X,Gyr_Y,Gyr_Z,Acc_X,Acc_Y,Acc_Z",
    "camel case": "time,gyroRotationX(rad/s),gyroRotationY(rad/s),gyroRotationZ(rad/s),"
    "accelerometerAccelerationX(m/s²),accelerometerAccelerationY(m/s²),accelerometerAccelerationZ(m/s²)",
    "Shimmer": "time,Shimmer_Gyro_X_CAL,Shimmer_Gyro_Y_CAL,Shimmer_Gyro_Z_CAL,Shimmer_Accel_X_CAL,"
    "Shimmer_Accel_Y_CAL,Shimmer_Accel_Z_CAL",
    "Shimmer's serial number": "ts_s,Shimmer_3E0B_Gyro_X_CAL,Shimmer_3E0B_Gyro_Y_CAL,Shimmer_3E0B_Gyro_Z_CAL,"
    "Shimmer_3E0B_Accel_LN_X_CAL,Shimmer_3E0B_Accel_LN_Y_CAL,Shimmer_3E0B_Accel_LN_Z_CAL",
    "SensorLog": "accelerometerTimestamp_sinceReboot(s),motionRotationRateX(rad/s),motionRotationRateY(rad/s),"
    "motionRotationRateZ(rad/s),motionAccelerationX(m/s²),motionAccelerationY(m/s²),motionAccelerationZ(m/s²)",
    "axis first": "time,x_gyro,y_gyro,z_gyro,X Acceleration,Y Acceleration,Z Acceleration",
    "units behind": "time_s,gyr_x_rad_s,gyr_y_rad_s,gyr_z_rad_s,acc_x_m_s2,acc_y_m_s2,acc_z_m_s2",
}


@pytest.mark.parametrize("dialect", NAMES)
def test_columns_are_found_by_name(readings, dialect, tmp_path):
    turned = readings[:, [3, 4, 5, 0, 1, 2]].T
    data = table(NAMES[dialect], seconds(readings), *turned)
    check(data, readings)
    check(b"\xef\xbb\xbf" + data.replace(b"\n", b"\r"), readings)
    (tmp_path / "a.csv").write_bytes(data)
    assert guess_modality(tmp_path / "a.csv") == Modality.IMU
    # other columns, and the axes the other way round
    first, *names = NAMES[dialect].split(",")
    extra = ",".join([first, *reversed(names), "temperature", "heart rate"])
    still = np.full(len(readings), 21.5)
    check(table(extra, seconds(readings), *turned[::-1], still, still), readings)


@pytest.mark.parametrize(
    ("column", "scale"),
    [
        ("timestamp [ns]", 1e9), ("time_ns", 1e9), ("t (us)", 1e6), ("Timestamp (µs)", 1e6), ("time_ms", 1e3),
        ("Timestamp [ms]", 1e3), ("millis", 1e3), ("milliseconds", 1e3), ("time (s)", 1), ("seconds_elapsed", 1),
        ("t_sec", 1), ("time", 1), ("time", 1e3), ("timestamp", 1e6), ("t", 1e9),
    ],
)  # fmt: skip
def test_times_in_their_unit(readings, column, scale):
    times = seconds(readings) * scale
    header = f"{column},ax,ay,az,gx,gy,gz"
    check(table(header, times, *readings.T), readings)
    if scale > 1:
        whole = np.round(times).astype(np.int64) + EPOCH * int(scale) // 10**9
        check(table(header, whole, *readings.T), readings, 0.01 if scale < 1e9 else 1e-3)


@pytest.mark.parametrize(
    ("acc", "gyro", "scales"),
    [
        ("acc_x [g]", "gyro_x [deg/s]", (G, DEGREE)),
        ("Accel x (G)", "Gyro x (°/s)", (G, DEGREE)),
        ("acc_x_g", "gyro_x_dps", (G, DEGREE)),
        ("a_x [mg]", "w_x [mdps]", (G / 1000, DEGREE / 1000)),
        ("a_x [m s^-2]", "w_x [deg s^-1]", (1, DEGREE)),
        ("ax (m/s²)", "gx (d/s)", (1, DEGREE)),
        ("acc_x (m/s/s)", "gyr_x (degrees/second)", (1, DEGREE)),
        ("acc_x [m*s⁻²]", "gyr_x [rad·s⁻¹]", (1, 1)),
        ("acc_x", "gyro_x [deg/s]", (1, DEGREE)),
    ],
)  # fmt: skip
def test_units_are_honoured(readings, acc, gyro, scales):
    def axes(name):
        return [name.replace("x", axis, 1) if "x" in name else name for axis in "xyz"]

    header = ",".join(["time [s]", *axes(acc), *axes(gyro)])
    given = readings / np.repeat(scales, 3)
    check(table(header, seconds(readings), *given.T), readings)
    latin = table(header, seconds(readings), *given.T).decode()
    if all(ord(letter) < 256 for letter in latin):
        check(latin.encode("latin-1"), readings)


def test_two_columns_of_time_that_agree(readings):
    header = "time,seconds_elapsed,z_acc,y_acc,x_acc,z_gyro,y_gyro,x_gyro"
    columns = readings[:, [2, 1, 0, 5, 4, 3]].T
    stamps = (seconds(readings) * 1e9).astype(np.int64) + EPOCH
    check(table(header, stamps, seconds(readings), *columns), readings)
    with pytest.raises(MediaError, match="time and seconds_elapsed that tell different times"):
        load_imu(table(header, stamps, 2 * seconds(readings), *columns), ImuSettings())


def test_a_counter_is_no_time(readings):
    for name in ("index", "sample", "Unnamed: 0", "packet_counter"):
        data = table(f"{name},ax,ay,az,gx,gy,gz", np.arange(len(readings)), *readings.T)
        found = load_imu(data, ImuSettings(source_rate_hz=RATE)).numpy()
        np.testing.assert_allclose(found, expected(readings), atol=1e-5)


def test_an_accelerometer_beside_linear_acceleration(readings):
    names = "time,accelerometer_x,accelerometer_y,accelerometer_z,linear_acceleration_x,linear_acceleration_y,linear_acceleration_z,gx,gy,gz"
    other = np.zeros((len(readings), 3))
    check(table(names, seconds(readings), *readings[:, :3].T, *other.T, *readings[:, 3:].T), readings)


PLAIN = ["ax", "ay", "az", "gx", "gy", "gz"]
REFUSED = {
    "two sensors": (["imu0_" + name for name in PLAIN] + ["imu1_" + name for name in PLAIN], "of one sensor"),
    "half of two": (["phone_" + name for name in PLAIN[:3]] + ["watch_" + name for name in PLAIN[3:]], "of one sensor"),
    "biases": (["b_w_RS_S_" + axis for axis in "xyz"] + PLAIN[:3], "of one sensor"),
    "no gyroscope": (["acc_x", "acc_y", "acc_z", "mag_x", "mag_y", "mag_z"], "of one sensor"),
    "twice": ([*PLAIN[:5], "gy"], "of one sensor"),
    "counts": ([f"{name} [LSB]" for name in PLAIN], r"the unit 'LSB' .* expected m/s\^2, g or mg"),
    "two units": ([*PLAIN[:4], "gy [deg/s]", "gz [rad/s]"], "the unit"),
    "gravity of 1": ([f"{name}" for name in PLAIN], r"about 0.998.* without a unit, as in g; expected m/s\^2"),
    "gravity of 16384": ([f"{name}" for name in PLAIN], "sensor's own counts"),
    "fast": (PLAIN, "turns of up to .* as in deg/s"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_unclear_is_refused(readings, case, tmp_path):
    names, reason = REFUSED[case]
    values = np.tile(readings, 2)[:, : len(names)]
    values *= {"gravity of 1": 1 / G, "gravity of 16384": 16384 / G, "fast": 1}.get(case, 1)
    if case == "fast":
        values[:, 3:] *= 100
    data = table(",".join(["time", *names]), seconds(readings), *values.T)
    with pytest.raises(MediaError, match=reason) as caught:
        load_imu(data, ImuSettings())
    assert "\n" not in str(caught.value)
    if case != "biases":
        (tmp_path / "a.csv").write_bytes(data)
        assert guess_modality(tmp_path / "a.csv") == Modality.IMU


@pytest.mark.parametrize(
    ("column", "times", "reason"),
    [
        ("time", np.arange(300) * 0.3, "steps of 0.3 in the column time, which names no unit"),
        ("time [h]", np.arange(300) * 0.3, "the unit 'h' above time"),
        ("time", np.arange(300) * 110.0, "names no unit"),
        ("time", np.arange(300.0), "steps of 1 in the column time"),
        ("time", np.zeros(300), "do not rise"),
        ("when,temperature", None, "a column when that rises like time"),
    ],
)
def test_unclear_times_are_refused(readings, column, times, reason):
    columns = [np.arange(300) / RATE, np.full(300, 20.0)] if times is None else [times]
    with pytest.raises(MediaError, match=reason):
        load_imu(table(f"{column},ax,ay,az,gx,gy,gz", *columns, *readings.T), ImuSettings())


def test_a_header_that_does_not_fit_is_refused(readings):
    data = table("time,temperature,ax,ay,az,gx,gy,gz", seconds(readings), *readings.T)
    with pytest.raises(MediaError, match="8 names above 7 columns"):
        load_imu(data, ImuSettings())
    remark = b"# acc_x first, then the others\n" + table("# 300 rows", seconds(readings), *readings.T)
    check(remark, readings)


def test_one_sensor_alone_is_guessed_and_refused(readings, tmp_path):
    (tmp_path / "gyro.csv").write_bytes(table("gyro_x,gyro_y,gyro_z", *readings[:, 3:].T))
    assert guess_modality(tmp_path / "gyro.csv") == Modality.IMU
    with pytest.raises(MediaError, match="columns called gyro_x"):
        load_imu(tmp_path / "gyro.csv", ImuSettings())


@pytest.mark.parametrize("modality", ["imu", "point"])
def test_columns_of_other_names_are_refused(modality):
    rows = "\n".join(
        ",".join(str(value) for value in row) for row in np.random.default_rng(1).random((40, 6))
    )
    named = b"vx,vy,vz,roll,pitch,yaw\n" + rows.encode()
    with pytest.raises(MediaError, match="columns called vx, vy, vz, roll, pitch, yaw"):
        load_media(modality, named, MediaSettings())
    remark = b"# six numbers in a row altogether\n" + rows.encode()
    assert torch.equal(
        load_media(modality, remark, MediaSettings()), load_media(modality, rows.encode(), MediaSettings())
    )


def dated(header: str, stamps, *columns) -> bytes:
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return "\n".join(
        [header, *(",".join([stamp, *map(repr, row)]) for stamp, row in zip(stamps, rows, strict=True))]
    ).encode()


ZONES = ["{}T{}Z", "{}T{}", "{} {}", "{}t{}z", "{}T{}+00:00", "{}T{}-05", '"{} {}+0530"', "{} {} UTC"]


@pytest.mark.parametrize("form", ZONES)
@pytest.mark.parametrize("name", ["time", "timestamp", "time (ms)", "date", None])
def test_dates_are_seconds(readings, form, name, tmp_path):
    start = datetime(2024, 2, 29, 23, 59, 59, 990_000)
    moments = [start + timedelta(milliseconds=10 * number) for number in range(len(readings))]
    stamps = [form.format(f"{moment:%Y-%m-%d}", f"{moment:%H:%M:%S.%f}") for moment in moments]
    data = dated("" if name is None else f"{name},ax,ay,az,gx,gy,gz", stamps, *readings.T)
    check(data.lstrip(), readings)
    (tmp_path / "a.csv").write_bytes(data.lstrip())
    assert guess_modality(tmp_path / "a.csv") is Modality.IMU


def test_dates_are_read_to_the_nanosecond_and_across_zones(readings):
    exact = [f"2024-01-01T00:00:{n // 100:02d}.{n % 100:02d}0000000Z" for n in range(300)]
    check(dated("time,ax,ay,az,gx,gy,gz", exact, *readings.T), readings)
    mixed = [
        stamp if n % 2 else stamp.replace("T00", "T02").replace("Z", "+02:00")
        for n, stamp in enumerate(exact)
    ]
    check(dated("time,ax,ay,az,gx,gy,gz", mixed, *readings.T), readings)
    slow = [f"2024-01-01T00:00:{n // 4:02d}.{n % 4 * 25:02d}" for n in range(60)]
    found = load_imu(dated("t,ax,ay,az,gx,gy,gz", slow, *readings[:60].T), ImuSettings())
    told = table("time [s],ax,ay,az,gx,gy,gz", np.arange(60) / 4, *readings[:60].T)
    assert torch.equal(found, load_imu(told, ImuSettings()))


@pytest.mark.parametrize(
    "stamp",
    ["2024-13-01T00:00:00", "2024-02-30T00:00:00Z", "01/02/2024", "00:00:00.010", "12:30", "Jan 1",
     "2024-01-01T25:00:00", "2024-01-01T00:00:00.1.2", "NULL"],
)  # fmt: skip
def test_what_is_no_date_is_refused_in_plain_words(readings, stamp):
    data = dated("time,ax,ay,az,gx,gy,gz", [stamp] * len(readings), *readings.T)
    with pytest.raises(
        MediaError, match=r"line 2: '.*' is no number; expected numbers in every row"
    ) as caught:
        load_imu(data, ImuSettings())
    assert "b'" not in str(caught.value)
    assert "float" not in str(caught.value)
    assert ("write times as seconds, or as 2024-01-31" in str(caught.value)) == (":" in stamp)
